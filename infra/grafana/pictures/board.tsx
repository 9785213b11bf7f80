// A dashboard of Grafana without Grafana: its own panels, from what Prometheus answers.
import {
  applyFieldOverrides,
  createTheme,
  dateTime,
  FieldColorModeId,
  FieldType,
  ThemeContext,
  toDataFrame,
  type DataFrame,
} from '@grafana/data';
import { GlobalStyles, LegendDisplayMode, PanelChrome, TimeSeries } from '@grafana/ui';
import { createRoot } from 'react-dom/client';

interface Panel {
  title: string;
  fieldConfig: { defaults: { unit: string; min: number; custom?: { axisSoftMax?: number } } };
  targets: { expr: string; legendFormat: string }[];
}

interface Series {
  metric: Record<string, string>;
  values: [number, string][];
}

interface Board {
  title: string;
  panels: Panel[];
  series: Series[][]; // of each panel
  from: number; // seconds
  to: number;
}

const WIDTH = 600;
const HEIGHT = 250;
const theme = createTheme({ colors: { mode: 'light' } });

function board(): Board {
  return (window as unknown as { board: Board }).board;
}

/** Grafana's legends: `{{label}}` stands for a label of the series. */
function legend(format: string, labels: Record<string, string>): string {
  return format.replace(/\{\{(\w+)\}\}/g, (_, name: string) => labels[name] ?? '').trim() || 'value';
}

function frames(panel: Panel, series: Series[]): DataFrame[] {
  const { unit, min, custom } = panel.fieldConfig.defaults;
  const data = series.map((one) => {
    const name = legend(panel.targets[0].legendFormat, one.metric);
    return toDataFrame({
      name,
      fields: [
        { name: 'Time', type: FieldType.time, values: one.values.map(([at]) => at * 1000) },
        {
          name,
          type: FieldType.number,
          values: one.values.map(([, value]) => Number(value)),
          config: {
            displayName: name,
            unit,
            min,
            color: { mode: FieldColorModeId.PaletteClassic },
            custom: { ...custom, fillOpacity: 10, lineWidth: 1, spanNulls: 60_000 },
          },
        },
      ],
    });
  });
  return applyFieldOverrides({
    data,
    theme,
    timeZone: 'utc',
    replaceVariables: (text) => text,
    fieldConfig: { defaults: {}, overrides: [] },
  });
}

function Graph({ panel, series }: { panel: Panel; series: Series[] }) {
  const { from, to } = board();
  const range = { from: dateTime(from * 1000), to: dateTime(to * 1000) };
  return (
    <PanelChrome title={panel.title} width={WIDTH} height={HEIGHT}>
      {(width: number, height: number) => (
        <TimeSeries
          frames={frames(panel, series)}
          timeRange={{ ...range, raw: range }}
          timeZone="utc"
          width={width}
          height={height}
          legend={{ showLegend: true, displayMode: LegendDisplayMode.List, placement: 'bottom', calcs: [] }}
        />
      )}
    </PanelChrome>
  );
}

function Page() {
  return (
    <ThemeContext.Provider value={theme}>
      <GlobalStyles hackNoBackdropBlur isExtensionSidebarOpen={false} />
      <main style={{ display: 'grid', gridTemplateColumns: `repeat(2, ${WIDTH}px)`, gap: 8, padding: 8 }}>
        {board().panels.map((panel, number) => (
          <Graph key={panel.title} panel={panel} series={board().series[number]} />
        ))}
      </main>
    </ThemeContext.Provider>
  );
}

createRoot(document.getElementById('root') as HTMLElement).render(<Page />);

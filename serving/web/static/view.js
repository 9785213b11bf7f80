// Runs before the first paint: which view it is decides the layout, and nothing may move when the modules come.
document.documentElement.dataset.view = /[?&](like|picture|url)=/.test(location.search) ? "search"
  : /[?&](find=|sort=|(is|from|to)\.)/.test(location.search) ? "list" : "start";

// A line that is gone for a moment loses a module, and the page with it: then it is loaded again, a few times.
addEventListener("error", (event) => {
  const tries = Number(sessionStorage.getItem("tries") ?? 0);
  if (!(event.target instanceof HTMLScriptElement) || tries > 4) return;
  sessionStorage.setItem("tries", String(tries + 1));
  const reload = () => location.reload();
  if (navigator.onLine) setTimeout(reload, 500 * 2 ** tries);
  else addEventListener("online", reload, { once: true });
}, true);

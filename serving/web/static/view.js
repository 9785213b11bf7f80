// Runs before the first paint: which view it is decides the layout, and nothing may move when the modules come.
document.documentElement.dataset.view = /[?&](like|picture|url)=/.test(location.search) ? "search"
  : /[?&](find=|(is|from|to)\.)/.test(location.search) ? "list" : "start";

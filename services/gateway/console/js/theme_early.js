// Runs before the first paint, so that a chosen theme never flashes in from the other one. Not a module: those wait.
(() => {
  const chosen = localStorage.getItem("tradeflow-theme");
  if (chosen === "light" || chosen === "dark") document.documentElement.dataset.theme = chosen;
})();

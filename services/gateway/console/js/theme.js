/** @file Light or dark: as the system says, until somebody chooses. */

/** Chooses the other one. */
export function toggleTheme() {
  const chosen = document.documentElement.dataset.theme ?? (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light");
  const other = chosen === "dark" ? "light" : "dark";
  document.documentElement.dataset.theme = other;
  localStorage.setItem("tradeflow-theme", other);
}

// Runs before the first paint, so that a page that was dark does not begin white.

try {
  const theme = JSON.parse(localStorage.getItem('clarion:theme'));
  if (theme === 'light' || theme === 'dark') document.documentElement.dataset.theme = theme;
} catch {
  // The system's is the theme.
}

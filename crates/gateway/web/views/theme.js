// Dark, light, or what the system says.

import { remember } from '../storage.js';

export function applyTheme(theme) {
  if (theme === 'system') delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = theme;
}

export function setTheme(theme) {
  remember('theme', theme, true);
  applyTheme(theme);
}

// Light, dark, or what the system says. A plain script in the head: it runs before the first paint.
'use strict';
{
  const root = document.documentElement;
  const key = 'rebasind.theme';
  const read = () => {
    try {
      return localStorage.getItem(key) || 'auto';
    } catch {
      return 'auto'; // storage refused: the system's choice
    }
  };
  const dark = matchMedia('(prefers-color-scheme: dark)');
  const apply = () => {
    const choice = read();
    root.dataset.theme = choice === 'auto' ? (dark.matches ? 'dark' : 'light') : choice;
    root.dataset.themeChoice = choice;
    dispatchEvent(new Event('theme'));
  };
  dark.addEventListener('change', apply);
  window.rebasindTheme = {
    get choice() {
      return read();
    },
    set choice(value) {
      try {
        localStorage.setItem(key, value);
      } catch {
        // lasts as long as the page then: not at all
      }
      apply();
    },
  };
  apply();
}

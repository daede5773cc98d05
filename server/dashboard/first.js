// What must not wait for the modules: a plain script in the head that runs before the first paint.
'use strict';

// Light, dark, or what the system says.
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

// The list of jobs is asked for while the modules are still on their way; api.js takes the answer.
if (/^(#\/?(jobs)?)?$/.test(location.hash)) {
  const url = new URL('../v1/jobs?sort=-created_at&limit=100', document.currentScript.src).href;
  const token = sessionStorage.getItem('rebasind.token');
  const answer = fetch(url, {cache: 'no-cache', headers: {Accept: 'application/json',
    ...(token === null ? {} : {Authorization: `Bearer ${token}`})}});
  answer.catch(() => {}); // said when it is taken
  window.rebasindFirst = {url, answer};
}

// Questions that need an answer before anything else: a token, a confirmation.
import {h} from './dom.js';

/** Shows a modal dialog; resolves with what `read` says when it was agreed to, else with null. */
function ask(title, content, verb, {danger = false, read = () => true} = {}) {
  return new Promise(resolve => {
    let answer = null;
    const dialog = h('dialog', {'aria-labelledby': 'dialog-title'},
      h('form', {onsubmit: agree},
        h('h2', {id: 'dialog-title'}, title),
        content,
        h('div.buttons',
          h('button', {onclick: () => dialog.close()}, 'Cancel'),
          h('button', {type: 'submit', class: danger ? 'danger' : 'primary'}, verb))));
    function agree(e) {
      e.preventDefault();
      answer = read();
      dialog.close();
    }
    dialog.addEventListener('close', () => {
      dialog.remove();
      resolve(answer);
    });
    document.body.append(dialog);
    dialog.showModal();
  });
}

/** True when the person agrees. */
export const confirm = async (title, words, verb) =>
  (await ask(title, h('p', words), verb, {danger: true})) === true;

/** The token, or null. words: why the last one was not good enough. */
export function askToken(words) {
  const input = h('input', {
    type: 'password', id: 'token', autocomplete: 'off', required: true, spellcheck: 'false',
    'aria-describedby': 'token-help',
  });
  return ask('Token', [
    words ? h('p.fault', {role: 'alert'}, words) : null,
    h('p', {id: 'token-help'}, 'This daemon answers only with a token. ',
      h('code', 'rebasind token create'), ' makes one. It is kept until this tab is closed.'),
    h('label', {for: 'token'}, 'Token'),
    input,
  ], 'Use it', {read: () => input.value.trim()});
}

// A text that is changed where it stands.
import {h} from './dom.js';
import {attempt} from './shell.js';

/** A button that puts an input in the place of `shown`: Enter saves, Esc and leaving it do not.
 * read() -> text; save(text) -> promise. */
export function editButton(label, shown, read, save, props) {
  const button = h('button.quiet.edit', {onclick: begin}, label);

  function begin() {
    const input = h('input.in-place', {value: read(), 'aria-label': label, maxlength: 200, autocomplete: 'off',
      onkeydown: key, onblur: () => end(), ...props});
    let over = false;
    function end(focus = false) {
      if (over) return;
      over = true;
      input.replaceWith(shown);
      button.hidden = false;
      if (focus) button.focus();
    }
    async function key(e) {
      if (e.key === 'Escape') end(true);
      if (e.key !== 'Enter') return;
      e.preventDefault();
      const text = input.value;
      end(true);
      await attempt(() => save(text));
    }
    shown.replaceWith(input);
    button.hidden = true;
    input.focus();
    input.select();
  }
  return button;
}

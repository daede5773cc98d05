// A text that is changed where it stands.
import {request} from './api.js';
import {h} from './dom.js';
import {asLabels} from './form.js';
import {labelText, NOTE} from './jobcells.js';
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

const noteOf = text => (text ? {[NOTE]: text} : {});
const own = job => Object.entries(job.labels).filter(([key]) => key !== NOTE);

/** What of a job is changed in place: [its text, what PATCH sends for another, attributes of the input]. */
const EDITS = {
  name: [job => job.name ?? '', (job, text) => ({name: text.trim() || null})],
  labels: [job => own(job).map(labelText).join(' '), (job, text) => ({labels: {...asLabels(text), ...noteOf(job.labels[NOTE])}})],
  note: [job => job.labels[NOTE] ?? '', (job, text) => ({labels: {...Object.fromEntries(own(job)), ...noteOf(text.trim())}}),
    {maxlength: 128}],
};

/** The button for one of them: job() -> the job as it is; done(job): as it has become. */
export const jobEdit = (label, what, shown, job, done) => {
  const [read, change, props] = EDITS[what];
  return editButton(label, shown, () => read(job()), async text => done(await (await request('PATCH', `v1/jobs/${job().id}`,
    {json: change(job(), text), headers: {'If-Match': '*'}})).json()), props);
};

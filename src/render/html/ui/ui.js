// The form, and the answer as it comes.
(() => {
  'use strict';
  const one = (selector, root = document) => root.querySelector(selector);
  const { element, number } = draw;
  const form = one('#ask');
  const [headline, text, token] = [one('#headline'), one('#text'), one('#token')];
  const [problem, main, progress] = [one('#problem'), one('#main'), one('#progress')];
  const examples = JSON.parse(one('#examples').textContent);
  // A browser says so of TLS and of this machine: elsewhere others on the way would read a token.
  const mayCarryToken = window.isSecureContext;
  // At most; told by the server.
  let limits = null;
  // What stops the reading under way.
  let running = null;
  // What the person wrote before an example took its place.
  let own = null;

  // Parties.

  function addParty({ name = '', aliases = [] } = {}) {
    const input = (label, value) =>
      element('label', {}, label, element('input', { type: 'text', dir: 'auto', value }));
    const item = element(
      'li',
      {},
      input('Name', name),
      input('Other names, with commas between', aliases.join(', ')),
      element('button', { type: 'button', class: 'remove', 'aria-label': 'Remove this party' }, 'Remove'),
    );
    one('#named').append(item);
    return item;
  }

  const rows = () => Array.from(one('#named').children);
  const inputs = (row) => Array.from(row.querySelectorAll('input'));

  // Those with a name or another name; null where there are none, so that the model finds them.
  function parties() {
    const named = rows().map((row, at) => {
      const [name, others] = inputs(row).map((input) => input.value.trim());
      const aliases = others.split(',').map((alias) => alias.trim()).filter(Boolean);
      return { id: `n${at + 1}`, name, aliases, row };
    });
    const filled = named.filter(({ name, aliases }) => name !== '' || aliases.length > 0);
    return filled.length > 0 ? filled : null;
  }

  one('#add').addEventListener('click', () => inputs(addParty())[0].focus());
  one('#named').addEventListener('click', (event) => {
    const button = event.target.closest('.remove');
    if (!button) return;
    const row = button.closest('li');
    const next = row.nextElementSibling || row.previousElementSibling;
    row.remove();
    (next ? one('.remove', next) : one('#add')).focus();
  });

  // Examples.

  const written = () => ({
    headline: headline.value,
    text: text.value,
    parties: rows().map((row) => inputs(row).map((input) => input.value)),
  });

  function fill({ headline: title = '', text: copy = '', parties: named = [] }) {
    headline.value = title;
    text.value = copy;
    one('#named').replaceChildren();
    for (const party of named) addParty(party);
    settle();
    size();
  }

  const restore = element('button', { type: 'button', id: 'restore', hidden: 'hidden' }, 'Back to my own text');
  const unchanged = (now) => shown !== null && JSON.stringify(now) === shown;
  let shown = null;

  for (const example of examples) {
    const title = example.id.charAt(0).toUpperCase() + example.id.slice(1);
    const button = element('button', { type: 'button', title: example.headline }, title);
    button.addEventListener('click', () => {
      const now = written();
      if (now.text.trim() !== '' && !unchanged(now)) own = now;
      fill(example);
      shown = JSON.stringify(written());
      restore.hidden = own === null;
    });
    one('.examples').append(button);
  }
  restore.addEventListener('click', () => {
    const named = own.parties.map(([name, others]) => ({ name, aliases: [others] }));
    fill({ ...own, parties: named });
    own = null;
    restore.hidden = true;
    text.focus();
  });
  one('.examples').append(restore);

  // What is wrong, in words.

  const units = (bytes) =>
    bytes < 1000 ? `${bytes} bytes` : bytes < 1e6 ? `${(bytes / 1000).toFixed(0)} kB` : `${(bytes / 1e6).toFixed(2)} MB`;

  const REASONS = {
    QUEUE_FULL: 'The server has as much to read as it can take just now.',
    DRAINING: 'The server is shutting down and takes nothing more.',
    DEADLINE_EXCEEDED: 'The article was not answered in time.',
    REQUEST_TOO_SLOW: 'The article took too long to reach the server.',
    MODEL_FAILED: 'The model failed on this article. Trying again is unlikely to help.',
  };
  const CODES = {
    UNREACHABLE: 'The server cannot be reached. Is it still running?',
    BROKEN: 'The connection broke before the whole article was answered.',
    HTTP: 'Something between this page and the service refused the call.',
    OUT_OF_RANGE: 'The article is larger than what the server takes at once.',
    UNAVAILABLE: 'The server cannot be reached just now.',
    DEADLINE_EXCEEDED: 'The article was not answered in time.',
  };
  // No codes of gRPC, and of no use to whoever reads them.
  const OURS = ['UNREACHABLE', 'BROKEN', 'HTTP'];
  // Trying the same again may help.
  const PASSING = [...OURS, 'UNAVAILABLE', 'DEADLINE_EXCEEDED'];

  // What the server objects to, and the field that it stands in.
  function objection({ field, description }, named) {
    const party = /^parties\[(\d+)\](?:\.(\w+))?/.exec(field);
    const asked = party && named && named[Number(party[1])];
    if (asked) {
      const [name, others] = inputs(asked.row);
      const where = party[2] === 'aliases' ? others : name;
      const called = asked.name.length > 40 ? `${asked.name.slice(0, 40)}…` : asked.name;
      return { words: `Party ${Number(party[1]) + 1}${called && ` (${called})`}: ${description}`, where };
    }
    if (field.startsWith('headline')) return { words: `The headline: ${description}`, where: headline };
    if (field === 'text' || field === '') return { words: `The text: ${description}`, where: text };
    return { words: `${field}: ${description}`, where: text };
  }

  function sound() {
    for (const input of form.querySelectorAll('[aria-invalid]')) input.removeAttribute('aria-invalid');
  }

  // Says what is wrong; the field at fault, if there is one, gets the focus.
  function tell(words, { detail = '', where = null, buttons = [] } = {}) {
    problem.replaceChildren(element('p', { class: 'what' }, words));
    if (detail) problem.append(element('p', { class: 'hint' }, detail));
    if (buttons.length > 0) problem.append(element('p', {}, ...buttons));
    (where ? where.closest('.field, fieldset') : form).before(problem);
    problem.hidden = false;
    if (where) {
      where.setAttribute('aria-invalid', 'true');
      where.focus();
    }
    problem.scrollIntoView({ block: 'nearest' });
  }

  let counting = 0;
  function settle() {
    clearInterval(counting);
    problem.hidden = true;
    problem.replaceChildren();
    sound();
  }

  // A button that asks again, once the server may be asked.
  function again(wait) {
    const button = element('button', { type: 'button', id: 'again' }, 'Try again');
    button.addEventListener('click', read);
    const ready = Date.now() + (wait || 0);
    const count = () => {
      const left = Math.ceil((ready - Date.now()) / 1000);
      button.disabled = left > 0;
      button.textContent = left > 0 ? `Try again in ${left} s` : 'Try again';
      if (left <= 0) clearInterval(counting);
    };
    counting = setInterval(count, 250);
    count();
    return button;
  }

  // `asked`: whether the person has asked for anything yet.
  function unauthenticated(asked) {
    one('#access').hidden = false;
    if (!mayCarryToken) {
      token.disabled = true;
      tell('This server asks for a token, and this page came over a connection that others can read.', {
        detail: 'A token is sent over TLS (https://) or to this machine only. Ask whoever runs the server for such an address.',
      });
      return;
    }
    if (!asked && token.value === '') {
      token.focus();
      return;
    }
    const words = token.value === '' ? 'This server asks for a token.' : 'The server does not know this token.';
    tell(words, { where: token });
  }

  function explain(failure, named, asked = true) {
    if (failure.code === 'UNAUTHENTICATED') {
      unauthenticated(asked);
      return;
    }
    const code = OURS.includes(failure.code) ? '' : failure.code;
    const detail = [code, failure.reason, failure.message].filter(Boolean).join(' · ');
    if (failure.violations.length > 0) {
      const { words, where } = objection(failure.violations[0], named);
      tell(words, { where: form.hidden ? null : where });
      return;
    }
    const words = REASONS[failure.reason] || CODES[failure.code] || 'The server could not answer.';
    const buttons = asked && PASSING.includes(failure.code) ? [again(failure.retry)] : [];
    tell(words, { detail, buttons });
  }

  // Reading.

  const seconds = (ms) => (ms < 1000 ? `${Math.round(ms)} ms` : `${(ms / 1000).toFixed(1)} s`);

  // Commits are known by their first twelve digits.
  const revision = (model) => (/^[0-9a-f]{40,}$/i.test(model.revision) ? model.revision.slice(0, 12) : model.revision);
  const called = (model) => `${model.id} ${revision(model)}`.trim();

  function phase(now) {
    const [asking, reading] = [now === 'asking', now === 'reading'];
    form.hidden = !asking;
    one('#run').hidden = asking;
    one('#cancel').hidden = !reading;
    one('#edit').hidden = reading;
    one('#new').hidden = reading;
    progress.hidden = !reading;
  }

  function note(article, words) {
    article.head.append(element('p', { class: 'note' }, words));
  }

  async function read() {
    if (running) return;
    settle();
    const named = parties();
    const copy = text.value;
    if (copy.trim() === '') {
      phase('asking');
      tell('There is nothing to read yet: paste an article, or choose an example.', { where: text });
      return;
    }
    const nameless = (named || []).find(({ name }) => name === '');
    if (nameless) {
      phase('asking');
      tell('A party has other names but no name.', { where: inputs(nameless.row)[0] });
      return;
    }
    const key = token.value.trim();
    if (key !== '' && !(mayCarryToken && /^[!-~]+$/.test(key))) {
      phase('asking');
      if (mayCarryToken) tell('That is no token: one is made of visible ASCII characters without blanks.', { where: token });
      else unauthenticated(true);
      return;
    }

    const title = headline.value.trim();
    const article = new draw.Article(1, title || 'Untitled article', named);
    article.meta.textContent = 'No sentence yet';
    page.clear();
    main.replaceChildren(article.element);
    progress.value = 0;
    running = new AbortController();
    phase('reading');
    one('#state').textContent = 'Reading…';
    one('#cancel').focus({ preventScroll: true });
    const wide = !window.matchMedia('(max-width: 62rem)').matches;

    // Often enough to follow, seldom enough that drawing does not hold up the sentences.
    let due = 0;
    const show = () => {
      const began = performance.now();
      article.drawPanel(wide);
      page.refresh();
      const count = article.sentences.length;
      if (!article.summary) article.meta.textContent = `${number(count, 'sentence')} so far`;
      due = performance.now() + Math.max(150, 10 * (performance.now() - began));
    };
    let later = 0;
    const soon = () => {
      if (performance.now() >= due) show();
      else later ||= setTimeout(() => ((later = 0), show()), due - performance.now());
    };

    let failed = null;
    try {
      const request = { headline: title, text: copy, parties: named };
      for await (const message of wire.classify(request, { token: key, signal: running.signal })) {
        if (message.sentence) {
          article.add(message.sentence);
          const { span } = message.sentence;
          if (span) progress.value = span.end / copy.length;
          soon();
        } else if (message.summary) {
          article.finish(message.summary);
        }
      }
      if (!article.summary) throw new wire.Failure('BROKEN', 'no summary came');
    } catch (error) {
      if (error.name === 'AbortError') failed = 'cancelled';
      else if (error instanceof wire.Failure) failed = error;
      else throw error;
    } finally {
      clearTimeout(later);
      running = null;
      if (!failed && !article.summary) phase('asking');
    }
    end(article, failed, named, show);
  }

  function end(article, failed, named, show) {
    const count = article.sentences.length;
    const focused = document.activeElement === one('#cancel') || document.activeElement === document.body;
    phase(count > 0 ? 'done' : 'asking');
    if (count > 0) {
      show();
      if (focused) one('#edit').focus({ preventScroll: true });
    } else {
      main.replaceChildren();
      page.refresh();
      if (focused) text.focus();
    }
    if (!failed) {
      const { model, timings } = article.summary;
      const parts = [number(count, 'sentence')];
      if (model) parts.push(`model ${called(model)}`);
      if (timings && timings.total) parts.push(`read in ${seconds(wire.milliseconds(timings.total))}`);
      article.meta.textContent = parts.join(' · ');
      const found = article.parties.length === 1 ? '1 party' : `${article.parties.length} parties`;
      one('#state').textContent = `Done: ${number(count, 'sentence')}, ${found}.`;
      return;
    }
    const part = `only the first ${number(count, 'sentence')} of the article`;
    if (failed === 'cancelled') {
      one('#state').textContent = 'Cancelled.';
      article.meta.textContent = number(count, 'sentence');
      if (count > 0) note(article, `Cancelled: ${part} stand here.`);
      return;
    }
    one('#state').textContent = 'Not answered.';
    article.meta.textContent = number(count, 'sentence');
    if (count > 0) note(article, `The answer broke off: ${part} stand here.`);
    explain(failed, named);
  }

  form.addEventListener('submit', (event) => {
    event.preventDefault();
    read();
  });
  form.addEventListener('keydown', (event) => {
    if (event.key !== 'Enter' || event.isComposing) return;
    if (event.ctrlKey || event.metaKey) {
      event.preventDefault();
      read();
    } else if (event.target.matches('input')) {
      // A line feed in a field is no request to read.
      event.preventDefault();
    }
  });
  one('#cancel').addEventListener('click', () => running && running.abort());
  one('#edit').addEventListener('click', () => {
    settle();
    phase('asking');
    text.focus();
    form.scrollIntoView({ block: 'nearest' });
  });
  one('#new').addEventListener('click', () => {
    settle();
    page.clear();
    main.replaceChildren();
    page.refresh();
    fill({});
    own = null;
    restore.hidden = true;
    phase('asking');
    text.focus();
  });

  // How much there is, once it is more than the server takes.
  function size() {
    const most = limits ? limits.textBytes : Infinity;
    // No character takes more than three bytes a unit.
    const bytes = text.value.length * 3 > most ? new TextEncoder().encode(text.value).length : 0;
    one('#size').textContent =
      bytes > most ? `${units(bytes)} of text; this server reads at most ${units(most)} at once` : '';
  }
  text.addEventListener('input', size);

  async function introduce() {
    try {
      const { model, limits: most } = await wire.model({ token: token.value.trim() });
      limits = most;
      if (model && model.identity) one('#model').textContent = `Model: ${called(model.identity)}.`;
      size();
      return true;
    } catch (error) {
      if (!(error instanceof wire.Failure)) throw error;
      explain(error, null, false);
      return false;
    }
  }
  token.addEventListener('change', async () => {
    if (token.value.trim() === '' || running) return;
    settle();
    if (/^[!-~]+$/.test(token.value.trim()) && (await introduce())) {
      one('#token-hint').textContent = 'accepted; it is kept in this page only, and forgotten when you leave it';
    }
  });

  // Some browsers bring back what stood in a form before; never a token.
  token.value = '';
  phase('asking');
  size();
  introduce();
})();

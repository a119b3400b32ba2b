// What a page does with drawn articles: choose a party or a speaker, step through, filter. The same for
// a page that was written whole and for one whose sentences still come; the latter calls `refresh`.
const page = (() => {
  'use strict';
  const one = (selector, root = document) => root.querySelector(selector);
  const all = (selector, root = document) => Array.from(root.querySelectorAll(selector));
  const has = (element, name, value) =>
    (element.dataset[name] || '').split(' ').includes(value);
  let articles = [];
  let sentences = [];
  const tools = one('#tools');
  const bar = one('#bar');
  const only = one('#only');
  const number = (count, noun) => `${count} ${noun}${count === 1 ? '' : 's'}`;
  const named = (button) => one('bdi', button).textContent;

  // The index, and the page's own name.
  function list() {
    const titles = articles.map((article) => one('h2', article).textContent);
    if (titles.length > 0) {
      const more = titles.length > 1 ? ` and ${titles.length - 1} more` : '';
      document.title = `${titles[0]}${more} · copydesk`;
    }
    const index = one('#index');
    index.hidden = articles.length < 2;
    if (index.hidden) return;
    const head = document.createElement('h2');
    head.textContent = number(articles.length, 'article');
    const list = document.createElement('ol');
    list.tabIndex = 0;
    list.setAttribute('aria-label', 'Articles');
    articles.forEach((article, at) => {
      const item = document.createElement('li');
      const link = document.createElement('a');
      link.href = `#${article.id}`;
      link.dir = 'auto';
      link.textContent = titles[at];
      const note = document.createElement('span');
      const count = article.getElementsByClassName('s').length;
      note.textContent = article.classList.contains('failed')
        ? ' not answered'
        : ` ${number(count, 'sentence')}`;
      item.append(link, note);
      list.append(item);
    });
    index.replaceChildren(head, list);
  }

  // Filters.
  const boxes = all('input[name=kind]');
  const search = one('#party');

  function offer() {
    for (const box of boxes) {
      const count = sentences.filter((s) => s.dataset.t === box.value).length;
      one('.count', box.parentElement).textContent = count;
      box.parentElement.hidden = count === 0;
    }
    const frequent = new Map();
    for (const button of all('.panel button')) {
      frequent.set(named(button), (frequent.get(named(button)) || 0) + 1);
    }
    const names = [...frequent].sort((a, b) => b[1] - a[1] || a[0].localeCompare(b[0]));
    const options = names.slice(0, 300).map(([name]) => {
      const option = document.createElement('option');
      option.value = name;
      return option;
    });
    one('#names').replaceChildren(...options);
    one('.find').hidden = names.length === 0;
    tools.hidden = sentences.length === 0;
  }

  const visible = (element) => element.getClientRects().length > 0;

  // Asks no layout: most articles of a long page have none yet.
  function shows(s, unchecked) {
    const names = s.classList;
    const apart = chosen && only.checked && chosen.article.contains(s);
    return (
      !names.contains('off') &&
      !unchecked.has(s.dataset.t) &&
      (!apart || names.contains('hit') || names.contains('said'))
    );
  }

  function tell() {
    const unchecked = new Set(boxes.filter((box) => !box.checked).map((box) => box.value));
    const shown = sentences.filter((s) => shows(s, unchecked)).length;
    one('#shown').textContent =
      shown === sentences.length
        ? ''
        : `${shown} of ${number(sentences.length, 'sentence')} shown`;
  }

  // The words that folds were last opened or closed for.
  let sought = '';

  function filter() {
    for (const box of boxes) {
      document.body.classList.toggle(`no-${box.value}`, !box.checked);
    }
    const words = search.value.trim().toLowerCase();
    for (const article of articles) {
      const places = new Set();
      for (const button of all('.panel button', article)) {
        const mine = button.textContent.toLowerCase().includes(words);
        if (words && mine) places.add(button.dataset.p);
        button.parentElement.hidden = !mine;
      }
      for (const more of all('.more', article)) {
        more.hidden = one('li:not([hidden])', more) === null;
        if (words !== sought) more.open = words !== '';
      }
      article.hidden = words !== '' && places.size === 0;
      if (article.hidden && chosen && chosen.article === article) clear();
      for (const s of all('.s', article)) {
        const mine = s.dataset.p.split(' ').some((p) => places.has(p)) || places.has(s.dataset.byp);
        s.classList.toggle('off', words !== '' && !mine);
      }
    }
    sought = words;
    tell();
  }

  // What is chosen: a party or a speaker of one article.
  let chosen = null;

  function unmark() {
    for (const element of all('.on, .hit, .said', chosen.article)) {
      element.classList.remove('on', 'hit', 'said');
    }
    for (const button of all('button[aria-pressed=true]', chosen.article)) {
      button.setAttribute('aria-pressed', 'false');
    }
  }

  function clear() {
    if (!chosen) return;
    unmark();
    chosen.article.classList.remove('only');
    chosen = null;
    bar.hidden = true;
    tell();
  }

  function choose(article, party, by) {
    clear();
    chosen = { article, party, by, stops: [], at: -1 };
    mark();
    const button = party === null ? null : one(`.panel button[data-p="${party}"]`, article);
    const fold = button && button.closest('.more');
    if (fold) fold.open = true;
    only.checked = false;
    bar.hidden = false;
  }

  // Marks what belongs to the choice, and says how much it is.
  function mark() {
    const { article, party, by } = chosen;
    const mentions = all(party === null ? '.sp' : '.m', article).filter((m) =>
      party === null ? has(m, 'by', by) : has(m, 'p', party),
    );
    for (const mention of mentions) {
      mention.classList.add('on');
      mention.closest('.s').classList.add('hit');
    }
    const said = all('.s', article).filter((s) =>
      party === null ? s.dataset.by === by : s.dataset.byp === party,
    );
    for (const s of said) s.classList.add('said');
    const button = party === null ? null : one(`.panel button[data-p="${party}"]`, article);
    if (button) button.setAttribute('aria-pressed', 'true');
    const stops = party === null ? [...new Set([...mentions, ...said])] : mentions;
    stops.sort((a, b) => (a.compareDocumentPosition(b) & Node.DOCUMENT_POSITION_FOLLOWING ? -1 : 1));
    chosen.at = stops.indexOf(chosen.stops[chosen.at]);
    chosen.stops = stops;
    const name = button ? named(button) : (one(`a.by[data-by="${by}"] bdi`, article) || {}).textContent;
    const parts = [];
    if (mentions.length) parts.push(number(mentions.length, 'mention'));
    if (said.length) parts.push(`speaks in ${number(said.length, 'sentence')}`);
    one('#chosen').textContent = `${name}: ${parts.join(', ') || 'no mention'}`;
  }

  // Takes in what has been drawn since.
  function refresh() {
    articles = all('main > article');
    sentences = all('.s');
    if (chosen && !articles.includes(chosen.article)) clear();
    if (chosen) {
      unmark();
      mark();
    }
    list();
    offer();
    filter();
  }

  function step(by) {
    if (!chosen) return;
    const stops = chosen.stops.filter(visible);
    if (stops.length === 0) return;
    const from = chosen.at < 0 && by < 0 ? 0 : chosen.at;
    chosen.at = (from + by + stops.length) % stops.length;
    const stop = stops[chosen.at];
    if (!stop.matches('a')) stop.tabIndex = -1;
    stop.focus({ preventScroll: true });
    stop.scrollIntoView({ block: 'center' });
  }

  document.addEventListener('click', (event) => {
    const target = event.target;
    const article = target.closest('article');
    const bit = target.closest('.strip [data-s]');
    if (bit) {
      const s = document.getElementById(`${article.id}-s${bit.dataset.s}`);
      s.scrollIntoView({ block: 'center' });
      choose(article, one('button', bit.closest('li')).dataset.p, null);
      return;
    }
    const button = target.closest('.panel button');
    if (button) {
      const again = button.getAttribute('aria-pressed') === 'true';
      if (again) clear();
      else choose(article, button.dataset.p, null);
      return;
    }
    const link = target.closest('a.m, a.by');
    if (!link || event.ctrlKey || event.metaKey || event.shiftKey) return;
    event.preventDefault();
    const speaks = link.closest('.s').dataset.byp;
    if (link.matches('.m')) {
      const party = link.dataset.p.split(' ')[0];
      if (chosen && chosen.article === article && chosen.party === party) clear();
      else choose(article, party, null);
    } else {
      if (speaks === undefined) choose(article, null, link.dataset.by);
      else choose(article, speaks, null);
      const name = all('.sp', article).find((m) => has(m, 'by', link.dataset.by));
      if (name && !link.closest('.s').contains(name)) name.scrollIntoView({ block: 'center' });
    }
  });
  document.addEventListener('keydown', (event) => {
    if (event.key === 'Escape' && chosen) clear();
  });
  one('#back').addEventListener('click', () => step(-1));
  one('#next').addEventListener('click', () => step(1));
  one('#clear').addEventListener('click', () => {
    const button = one('.panel button[aria-pressed=true]');
    clear();
    if (button && visible(button)) button.focus();
  });
  only.addEventListener('change', () => {
    if (chosen) chosen.article.classList.toggle('only', only.checked);
    tell();
  });
  for (const box of boxes) box.addEventListener('change', filter);
  let wait = 0;
  search.addEventListener('input', () => {
    clearTimeout(wait);
    wait = setTimeout(filter, 150);
  });
  // Forms outlive a reload in some browsers, so filters may be set already.
  refresh();

  // On paper nothing can be unfolded; on a small screen the text comes first.
  if (window.matchMedia('(max-width: 62rem)').matches) {
    for (const panel of all('.panel')) panel.open = false;
  }
  window.addEventListener('beforeprint', () => {
    for (const fold of all('article details')) fold.open = true;
  });
  return { refresh, clear };
})();

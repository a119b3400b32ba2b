// An article drawn sentence by sentence: the twin of `render/html.rs` and what stands below it, to
// the last element and attribute (`tests/browser` holds the two against each other). Everything that
// comes from an article goes in as text, never as markup.
const draw = (() => {
  'use strict';
  // By the contract's numbers.
  const KINDS = ['unsure', 'quote', 'background', 'reaction', 'boilerplate', 'report'];
  const SENTIMENTS = [
    { cls: 'uns', word: 'unsure', sign: '?' },
    { cls: 'neg', word: 'negative', sign: '−' },
    { cls: 'neu', word: 'neutral', sign: '·' },
    { cls: 'pos', word: 'positive', sign: '+' },
  ];
  const INDIRECT = 2;
  const BOILERPLATE = 4;
  const [UNSURE, NEGATIVE, NEUTRAL, POSITIVE] = [0, 1, 2, 3];
  // Parties shown at once; the rest is folded.
  const SHOWN = 10;
  const WIDTH = 240;
  const MIDDLE = 12;

  const clean = (text) =>
    text.replace(/[\t-\r\u0085]/g, ' ').replace(/[\0-\x1f\x7f-\x9f]/g, '\ufffd');

  function element(name, attributes = {}, ...children) {
    const made = document.createElement(name);
    for (const [key, value] of Object.entries(attributes)) {
      if (value !== null && value !== '') made.setAttribute(key, value);
    }
    made.append(...children);
    return made;
  }
  const bdi = (text) => element('bdi', {}, clean(text));
  const svg = (name, attributes) => {
    const made = document.createElementNS('http://www.w3.org/2000/svg', name);
    for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
    return made;
  };
  const plural = (count, noun) => `${noun}${count === 1 ? '' : 's'}`;
  const number = (count, noun) => `${count} ${plural(count, noun)}`;

  // Places of a span within its sentence; null where it does not fit.
  function within(sentence, span) {
    if (!span || !sentence.span) return null;
    const [start, end] = [span.start - sentence.span.start, span.end - sentence.span.start];
    return 0 <= start && start < end && end <= sentence.text.length ? { start, end } : null;
  }

  // All five, the likeliest first.
  function scores(sentence) {
    const each = KINDS.slice(1).map((kind) => [kind, (sentence.scores || {})[kind] || 0]);
    each.sort((a, b) => b[1] - a[1]);
    return each.map(([kind, score]) => `${kind} ${Math.fround(score * 100).toFixed(0)} %`).join(', ');
  }

  // A label that is no more likely than not is doubted, in a sign and in words.
  function doubt(sentence) {
    const kind = KINDS[sentence.type];
    if (!sentence.type || ((sentence.scores || {})[kind] || 0) >= 0.5) return [];
    return [element('span', { 'aria-hidden': 'true' }, '?'), element('span', { class: 'vh' }, ', in doubt')];
  }

  // A sign for the eye and words for the ear; neutral needs none.
  function sign(sentiment) {
    if (sentiment === NEUTRAL) return [];
    const { sign, word } = SENTIMENTS[sentiment];
    return [element('sup', { 'aria-hidden': 'true' }, sign), element('span', { class: 'vh' }, ` (${word})`)];
  }

  class Article {
    // `named`: the parties that the caller named, or null where they are found.
    constructor(place, headline, named) {
      this.place = place;
      this.sentences = [];
      this.drawn = [];
      this.parties = [];
      this.places = new Map();
      this.speakers = [];
      this.known = new Map();
      this.names = [];
      // Speakers whose sentence has not come yet.
      this.early = [];
      this.summary = null;
      for (const { id, name, aliases } of named || []) this.meet(id, name, aliases);
      this.meta = element('p', { class: 'meta' });
      this.head = element('header', {}, element('h2', { id: `a${place}-h` }, bdi(headline)), this.meta);
      this.copy = element('div', { class: 'copy' });
      this.panel = null;
      this.cols = element('div', { class: 'cols' }, this.copy);
      const attributes = { id: `a${place}`, 'aria-labelledby': `a${place}-h` };
      this.element = element('article', attributes, this.head, this.cols);
    }

    // The place of a party, new or known.
    meet(id, name, aliases = []) {
      let place = this.places.get(id);
      if (place === undefined) {
        place = this.parties.length;
        this.places.set(id, place);
        const counts = { negative: 0, neutral: 0, positive: 0, unspecified: 0 };
        this.parties.push({ id, name, aliases, sentences: 0, counts });
      }
      return place;
    }

    add(sentence) {
      const at = this.sentences.length;
      this.sentences.push(sentence);
      for (const { party, name, sentiment } of sentence.parties) {
        const known = this.parties[this.meet(party, name)];
        known.name = name || known.name;
        if (sentence.type === BOILERPLATE) continue;
        known.sentences += 1;
        known.counts[['unspecified', 'negative', 'neutral', 'positive'][sentiment] || 'unspecified'] += 1;
      }
      for (const { speaker, by } of this.early[at] || []) this.name(speaker, by);
      const again = this.speak(sentence);
      const node = this.sentence(at);
      this.drawn.push({ node, as: node.outerHTML });
      this.copy.append(node);
      if (again !== null && again !== at) this.redraw(again);
    }

    // Draws what the summary knows better.
    finish(summary) {
      this.summary = summary;
      const places = summary.parties.map(({ id }, place) => [id, place]);
      this.parties = summary.parties.map((party) => ({ ...party, counts: party.counts || {} }));
      this.places = new Map(places);
      this.sentences.forEach((_, at) => this.redraw(at));
      const code = summary.language;
      if (code && code !== 'eng') this.element.lang = code;
      if (!summary.supported) {
        const note = `The model was not trained for this language (${clean(code)}): read the labels with care.`;
        this.head.append(element('p', { class: 'note' }, note));
      }
    }

    redraw(at) {
      const { node, as } = this.drawn[at];
      const fresh = this.sentence(at);
      if (fresh.outerHTML === as) return;
      this.drawn[at] = { node: fresh, as: fresh.outerHTML };
      node.replaceWith(fresh);
    }

    // Numbers whoever speaks, one a party and one for each other name, and remembers where the text
    // names them; gives the sentence that must be drawn again.
    speak(sentence) {
      const { speaker } = sentence;
      if (!speaker) {
        this.speakers.push(null);
        return null;
      }
      const key = speaker.party === null ? `name ${speaker.text}` : `party ${speaker.party}`;
      if (!this.known.has(key)) this.known.set(key, this.known.size);
      const by = this.known.get(key);
      this.speakers.push(by);
      if (speaker.sentence >= this.sentences.length) {
        (this.early[speaker.sentence] ||= []).push({ speaker, by });
        return null;
      }
      return this.name(speaker, by);
    }

    name(speaker, by) {
      const range = within(this.sentences[speaker.sentence], speaker.span);
      if (!range) return null;
      const names = (this.names[speaker.sentence] ||= []);
      const last = names[names.length - 1];
      if (last && last.start === range.start && last.end === range.end && last.by === by) return null;
      names.push({ ...range, by });
      return speaker.sentence;
    }

    sentence(at) {
      const sentence = this.sentences[at];
      const kind = KINDS[sentence.type] || 'unsure';
      const before = this.sentences[at - 1];
      const first = !before || before.paragraph !== sentence.paragraph;
      const parties = sentence.parties.map(({ party }) => this.places.get(party));
      const node = element('div', {
        class: `s t-${kind}${first ? ' first' : ''}`,
        id: `a${this.place}-s${at}`,
        'data-t': kind,
      });
      node.dataset.p = parties.filter((place) => place !== undefined).join(' ');
      const by = this.speakers[at];
      const speaking = by === null ? undefined : this.places.get(sentence.speaker.party);
      if (by !== null) {
        node.dataset.by = by;
        if (speaking !== undefined) node.dataset.byp = speaking;
      }
      const text = element('bdi', {}, ...this.pieces(at, sentence));
      const line = element('p', { dir: 'auto' }, text);
      if (by !== null) {
        const { speaker } = sentence;
        const name = speaking === undefined ? speaker.text : this.parties[speaking].name;
        const link = { class: 'by', href: `#a${this.place}-s${speaker.sentence}`, 'data-by': by };
        line.append(' ', element('a', link, '— ', bdi(name), speaker.sentence < at ? ', continued' : ''));
      }
      node.append(element('span', { class: 'k', title: scores(sentence) }, kind, ...doubt(sentence)), line);
      return node;
    }

    // The sentence in pieces that lie in the same mentions and quotations from end to end, so that
    // spans may overlap as they like and the markup still nests.
    pieces(at, sentence) {
      const marks = [];
      for (const { party, sentiment, mentions } of sentence.parties) {
        const place = this.places.get(party);
        if (place === undefined) continue;
        for (const { span } of mentions) {
          const range = within(sentence, span);
          if (range) marks.push({ ...range, place, sentiment });
        }
      }
      // The shortest first: it is what a click means.
      marks.sort((a, b) => a.end - a.start - (b.end - b.start));
      const quoted = sentence.quotations
        .filter(({ kind }) => kind !== INDIRECT)
        .map(({ span }) => within(sentence, span))
        .filter(Boolean);
      const names = this.names[at] || [];
      const all = [...marks, ...quoted, ...names];
      const cuts = new Set([0, sentence.text.length, ...all.flatMap(({ start, end }) => [start, end])]);
      const places = [...cuts].sort((a, b) => a - b);
      return places.slice(1).flatMap((end, i) => {
        const start = places[i];
        const inside = (range) => range.start <= start && end <= range.end;
        const over = marks.filter(inside);
        const text = clean(sentence.text.slice(start, end));
        const by = names.filter(inside).map((name) => name.by);
        const classes = [quoted.some(inside) && 'q', by.length && 'sp'].filter(Boolean);
        if (over.length === 0) {
          if (classes.length === 0) return [text];
          return [element('span', { class: classes.join(' '), 'data-by': by.join(' ') }, text)];
        }
        classes.push('m', (SENTIMENTS[over[0].sentiment] || SENTIMENTS[UNSURE]).cls);
        const ends = over.filter((mark) => mark.end === end).flatMap((mark) => sign(mark.sentiment));
        const attributes = {
          class: classes.join(' '),
          href: `#a${this.place}-p${over[0].place}`,
          'data-p': over.map(({ place }) => place).join(' '),
          'data-by': by.join(' '),
        };
        return [element('a', attributes, text, ...ends)];
      });
    }

    // The parties anew, in order of appearance while they come and by sentences at the end.
    drawPanel(open) {
      const parties = this.parties.map((party, place) => ({ party, place }));
      if (parties.length === 0) return;
      if (this.summary) parties.sort((a, b) => b.party.sentences - a.party.sentences);
      const strips = this.strips();
      const row = ({ party, place }) => this.row(party, place, strips[place]);
      const hint = (name, text) => element(name, { class: 'hint' }, text);
      const panel = element(
        'details',
        { class: 'panel' },
        element('summary', {}, 'Parties ', hint('span', `${parties.length}`)),
        hint('p', 'Choose one to see its mentions and words.'),
        element('ul', {}, ...parties.slice(0, SHOWN).map(row)),
      );
      const rest = parties.slice(SHOWN);
      if (rest.length > 0) {
        const fold = element('summary', {}, `${rest.length} more`);
        panel.append(element('details', { class: 'more' }, fold, element('ul', {}, ...rest.map(row))));
      }
      const old = this.panel;
      const folded = old && old.querySelector('.more');
      panel.open = old ? old.open : open;
      if (folded && folded.open) panel.querySelector('.more').open = true;
      const focused = old && old.contains(document.activeElement) ? document.activeElement : null;
      const top = old ? old.scrollTop : 0;
      this.panel = panel;
      if (old) old.replaceWith(panel);
      else this.cols.prepend(panel);
      panel.scrollTop = top;
      if (!focused) return;
      const again = focused.dataset.p === undefined
        ? panel.querySelector(focused.closest('.more') ? '.more > summary' : 'summary')
        : panel.querySelector(`button[data-p="${focused.dataset.p}"]`);
      if (again) again.focus({ preventScroll: true });
    }

    row(party, place, strip) {
      const button = element(
        'button',
        { type: 'button', 'data-p': place, 'aria-pressed': 'false' },
        bdi(party.name),
      );
      if (party.aliases.length > 0) {
        button.append(' ', element('span', { class: 'also' }, 'also ', bdi(party.aliases.join(', '))));
      }
      const tally = element('span', { class: 'tally' });
      const counts = [NEGATIVE, NEUTRAL, POSITIVE, UNSURE];
      for (const { cls, sign, word } of counts.map((sentiment) => SENTIMENTS[sentiment])) {
        const count = party.counts[word === 'unsure' ? 'unspecified' : word] || 0;
        if (count === 0) continue;
        tally.append(element(
          'span',
          { class: cls },
          element('span', { 'aria-hidden': 'true' }, sign),
          `${count}`,
          element('span', { class: 'vh' }, ` ${word} `),
        ));
      }
      const picture = svg('svg', {
        class: 'strip',
        viewBox: `0 0 ${WIDTH} 24`,
        role: 'img',
        'aria-label': `Along the article: ${strip.words}`,
      });
      picture.append(svg('path', { class: 'axis', d: `M0 ${MIDDLE}H${WIDTH}` }), ...strip.marks);
      return element('li', { id: `a${this.place}-p${place}` }, button, tally, picture);
    }

    // Every party along the article, for the eye and for the ear: up is better, down is worse.
    strips() {
      const strips = this.parties.map(() => ({ marks: [], sentences: [[], [], [], []] }));
      const step = WIDTH / Math.max(this.sentences.length, 1);
      const wide = Math.min(Math.max(step * 0.8, 2.5), 10);
      this.sentences.forEach((sentence, at) => {
        const x = Math.min(Math.max((at + 0.5) * step, wide / 2), WIDTH - wide / 2);
        for (const { party, sentiment } of sentence.parties) {
          const strip = strips[this.places.get(party)];
          if (!strip) continue;
          const { cls } = SENTIMENTS[sentiment] || SENTIMENTS[UNSURE];
          const place = { class: cls, 'data-s': at };
          const tall = sentiment === NEGATIVE || sentiment === POSITIVE;
          strip.marks.push(tall
            ? svg('rect', {
                ...place,
                x: (x - wide / 2).toFixed(1),
                y: sentiment === NEGATIVE ? MIDDLE : 1,
                width: wide.toFixed(1),
                height: 11,
              })
            : svg('circle', { ...place, cx: x.toFixed(1), cy: MIDDLE, r: 2.5 }));
          (strip.sentences[sentiment] || []).push(at + 1);
        }
      });
      for (const strip of strips) {
        const said = [NEGATIVE, NEUTRAL, POSITIVE]
          .filter((sentiment) => strip.sentences[sentiment].length > 0)
          .map((sentiment) => {
            const places = strip.sentences[sentiment];
            return `${SENTIMENTS[sentiment].word} in ${plural(places.length, 'sentence')} ${places.join(', ')}`;
          });
        strip.words = said.join('; ') || 'not judged';
      }
      return strips;
    }
  }

  return { Article, element, number };
})();

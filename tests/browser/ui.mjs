// The page of `copydesk serve --ui` in a real browser, against the real server: an article is pasted
// and its sentences come, drawn as `classify --format html` draws them; parties, tokens, TLS, what is
// said when something fails; keyboard, colours, a narrow window; and that nobody else is asked.
//
//   npm ci && node ui.mjs
//
// Needs openssl for a certificate.

import assert from 'node:assert/strict';
import { execFileSync, spawn } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { pathToFileURL } from 'node:url';
import { colours, contrast, executable, launch, root, shots } from './browser.mjs';

const folder = mkdtempSync(join(tmpdir(), 'copydesk-ui-'));
const TOKEN = 'correct-horse-battery';
const model = JSON.parse(readFileSync(join(root, 'models/news-en/config.json'), 'utf8'));
const articles = readFileSync(join(root, 'examples/articles/articles.jsonl'), 'utf8')
  .trim().split('\n').map((line) => JSON.parse(line)).filter(({ text }) => text);
const hostile = {
  headline: '<script>window.hacked = 1</script> & "quotes"',
  text: 'The league <img src=x onerror="window.hacked=1"> met Norland\'s \u202eenvoy 🦊 in Oster. “</p></bdi><svg onload=window.hacked=1>,” said Ida Brandt.\n\n“We go 🦊🦊, and Norland\ttoo,” she told Norland\u0007. “Soon.”',
  parties: [{ id: 'n', name: 'Norland', aliases: ['Oster', '<b>x</b>'] }],
};

// A server of its own, and where its page and metrics are.
async function serve(...flags) {
  const child = spawn(executable, ['serve', '--addr', '127.0.0.1:0', '--ui', '127.0.0.1:0',
    '--metrics-addr', '127.0.0.1:0', '--log-format', 'json', ...flags], { stdio: ['ignore', 'ignore', 'pipe'] });
  const told = {};
  const lines = createInterface({ input: child.stderr });
  await new Promise((done, failed) => {
    child.on('exit', (code) => failed(new Error(`the server ended with ${code}`)));
    lines.on('line', (line) => {
      const { fields } = JSON.parse(line);
      Object.assign(told, fields);
      if (fields.serving === true) done();
    });
  });
  const running = async () => {
    const text = await (await fetch(`http://${told.metrics}/metrics`)).text();
    const line = /requests_running\{method="copydesk.v1.ClassifierService\/ClassifyArticle"\} (\d+)/.exec(text);
    return line ? Number(line[1]) : 0;
  };
  return { url: told.page, running, kill: () => child.kill('SIGKILL'), child };
}

// What is drawn, less what a reader cannot see: line feeds between elements, and the last digit of
// places in a picture.
const drawn = (selector) => {
  const plain = (node) => {
    if (node.nodeType === Node.TEXT_NODE) return /^\s*\n\s*$/.test(node.data) ? [] : [node.data];
    const attributes = Array.from(node.attributes, ({ name, value }) => [
      name, ['x', 'cx', 'width'].includes(name) ? Math.round(Number(value)) : value,
    ]).sort();
    return [[node.localName, Object.fromEntries(attributes), ...Array.from(node.childNodes).flatMap(plain)]];
  };
  const found = document.querySelector(selector).cloneNode(true);
  found.normalize();
  return plain(found);
};

const checks = [];
const check = (name, run) => checks.push({ name, run });
const shot = async (p, name, options = {}) => {
  if (shots) await p.screenshot({ path: join(shots, `ui-${name}.png`), ...options });
};
const example = (p, id) => p.locator('.examples button', { hasText: new RegExp(`^${id}$`, 'i') }).click();
const done = (p) => p.locator('#state', { hasText: 'Done' }).waitFor({ timeout: 120_000 });


// As a paste does; typing so much takes a browser minutes.
const paste = (p, text) =>
  p.locator('#text').evaluate((area, text) => {
    area.value = text;
    area.dispatchEvent(new Event('input', { bubbles: true }));
  }, text);

async function ask(p, { headline = '', text, parties = [] }) {
  if (await p.locator('#new').isVisible()) await p.locator('#new').click();
  await p.locator('#headline').fill(headline);
  await paste(p, text);
  for (const { name, aliases } of parties) {
    await p.locator('#add').click();
    await p.locator('#named li').last().locator('input').nth(0).fill(name);
    await p.locator('#named li').last().locator('input').nth(1).fill(aliases.join(', '));
  }
  await p.locator('#go').click();
}

check('it says which model reads, and what the marks mean', async (p) => {
  const { id, revision } = model.copydesk;
  await p.locator('#model', { hasText: `Model: ${id} ${revision}.` }).waitFor();
  assert.equal(await p.locator('#access').isVisible(), false);
  assert.equal(await p.locator('#tools').isVisible(), false);
  await p.locator('#legend summary').click();
  await shot(p, 'form', { fullPage: true });
  await p.locator('#legend summary').click();
});

check('an example is read, and looks as the page of the client does', async (p) => {
  for (const article of [...articles, hostile]) {
    if (article === hostile) {
      await ask(p, hostile);
    } else {
      if (await p.locator('#new').isVisible()) await p.locator('#new').click();
      await example(p, article.id);
      assert.equal(await p.locator('#text').inputValue(), article.text);
      await p.locator('#go').click();
    }
    await done(p);
    // The page numbers its parties itself; and an empty list, which means none, is no part of it.
    const parties = (article.parties || []).map((party, i) => ({ ...party, id: `n${i + 1}` }));
    const sent = { id: 'x', headline: article.headline, text: article.text };
    if (parties.length > 0) sent.parties = parties;
    const [source, file] = [join(folder, 'one.jsonl'), join(folder, 'one.html')];
    writeFileSync(source, `${JSON.stringify(sent)}\n`);
    execFileSync(executable, ['classify', '--format', 'html', '--force', '--out', file, source], { stdio: 'ignore' });
    const other = await p.context().newPage();
    await other.goto(pathToFileURL(file).href);
    for (const part of ['h2', '.copy', '.panel']) {
      const [expected, found] = [await other.evaluate(drawn, `#a1 ${part}`), await p.evaluate(drawn, `#a1 ${part}`)];
      assert.deepEqual(found, expected, `${part} of ${article.headline}`);
    }
    assert.equal(await p.title(), await other.title());
    await other.close();
    if (article.id === 'diplomacy') await shot(p, 'answer');
    if (article.id === 'trade') await shot(p, 'named');
  }
});

check('hostile text stays text', async (p) => {
  assert.equal(await p.evaluate(() => window.hacked), undefined);
  assert.equal(await p.locator('main img, main script, main b, main svg:not(.strip)').count(), 0);
  assert.match(await p.locator('#a1 h2').innerText(), /<script>window\.hacked = 1<\/script> & "quotes"/);
  // Offsets are UTF-16 units: what stands before them is two units wide.
  assert.ok((await p.locator('#a1 .m').allTextContents()).every((m) => /^(Norland|Oster)/.test(m)));
  assert.ok(await p.locator('#a1 .m').count() >= 3);
});

check('parties, speakers and filters work as on the page of the client', async (p) => {
  await p.locator('#new').click();
  await example(p, 'trade');
  await p.locator('#go').click();
  await done(p);
  const names = await p.locator('#a1 .panel button > bdi').allInnerTexts();
  assert.deepEqual([...names].sort(), articles.find(({ id }) => id === 'trade').parties.map(({ name }) => name).sort());
  await p.locator('#a1 .panel button').first().click();
  assert.ok(await p.locator('.m.on').count() > 0);
  await shot(p, 'chosen');
  await p.keyboard.press('Escape');
  assert.equal(await p.locator('.on').count(), 0);
  const by = p.locator('a.by').first();
  await by.click();
  assert.equal(await by.evaluate((a) => a.closest('.s').classList.contains('said')), true);
  await p.keyboard.press('Escape');
  const box = p.locator('input[value=quote]');
  await box.uncheck();
  assert.equal(await p.locator('.s[data-t=quote]:visible').count(), 0);
  await box.check();
});

check('sentences come while the rest is read, and Cancel stops the reading', async (p, server) => {
  const article = articles[0];
  await ask(p, { headline: article.headline, text: `${article.text}\n\n`.repeat(60) });
  await p.locator('.s').nth(5).waitFor({ timeout: 60_000 });
  assert.equal(await p.locator('#cancel').isVisible(), true);
  assert.equal(await server.running(), 1);
  const early = await p.locator('.s').count();
  // A party chosen now goes on being chosen.
  await p.locator('#a1 .panel button').first().click();
  const marked = await p.locator('.m.on').count();
  await p.waitForFunction((early) => document.querySelectorAll('.s').length > early + 40, early, { timeout: 60_000 });
  await p.waitForFunction((marked) => document.querySelectorAll('.m.on').length > marked, marked, { timeout: 60_000 });
  assert.equal(await p.locator('#a1 .panel button[aria-pressed=true]').count(), 1);
  assert.ok(await p.locator('#progress').evaluate((bar) => bar.value > 0 && bar.value < 1));
  await shot(p, 'streaming');
  await p.locator('#cancel').click();
  await p.locator('#state', { hasText: 'Cancelled.' }).waitFor();
  const count = await p.locator('.s').count();
  assert.ok(count < 60 * 32);
  assert.match(await p.locator('#a1 .note').innerText(), new RegExp(`only the first ${count} sentences`));
  for (let i = 0; i < 100 && (await server.running()) > 0; i++) await new Promise((r) => setTimeout(r, 100));
  assert.equal(await server.running(), 0, 'the server goes on reading');
  assert.equal(await p.locator('.s').count(), count);
  await p.keyboard.press('Escape');
});

check('what is wrong is said where it is wrong', async (p) => {
  await p.locator('#new').click();
  await p.locator('#go').click();
  assert.match(await p.locator('#problem').innerText(), /nothing to read yet/);
  assert.equal(await p.evaluate(() => document.activeElement.id), 'text');
  await p.locator('#text').fill('The league met.');
  await p.locator('#add').click();
  const [name, others] = [p.locator('#named input').nth(0), p.locator('#named input').nth(1)];
  await others.fill('Beijing');
  await p.locator('#go').click();
  assert.match(await p.locator('#problem').innerText(), /no name/);
  await name.fill('x'.repeat(5000));
  await p.locator('#go').click();
  await p.locator('#problem', { hasText: 'Party 1' }).waitFor();
  assert.equal(await name.getAttribute('aria-invalid'), 'true');
  assert.equal(await name.evaluate((input) => input === document.activeElement), true);
  await shot(p, 'error');
  await p.locator('.remove').click();
  await paste(p, 'word '.repeat(250_000));
  assert.match(await p.locator('#size').innerText(), /1\.25 MB of text; this server reads at most 1\.05 MB/);
  await p.locator('#go').click();
  await p.locator('#problem', { hasText: 'The text:' }).waitFor();
  await p.locator('#text').fill('The league met.');
  await p.locator('#go').click();
  await done(p);
  assert.equal(await p.locator('#problem').isVisible(), false);
});

check('an example gives one’s own text back', async (p) => {
  await p.locator('#new').click();
  await p.locator('#text').fill('My own words.');
  await example(p, 'sport');
  await example(p, 'business');
  await p.locator('#restore').click();
  assert.equal(await p.locator('#text').inputValue(), 'My own words.');
  assert.equal(await p.locator('#restore').isVisible(), false);
});

check('the keyboard alone is enough', async (p) => {
  await p.reload();
  await p.locator('#model', { hasText: 'news-en' }).waitFor();
  const focused = () => p.evaluate(() => document.activeElement.id || document.activeElement.textContent);
  await p.locator('#text').focus();
  await p.keyboard.type('The union met Norland Bank. “We go,” said Ida Brandt of the union.');
  await p.keyboard.press('Tab');
  assert.equal(await focused(), 'add');
  await p.keyboard.press('Enter');
  await p.keyboard.type('Norland Bank');
  await p.keyboard.press('Tab');
  await p.keyboard.type('Norland');
  await p.keyboard.press('Control+Enter');
  await done(p);
  assert.equal(await focused(), 'edit', 'the focus is where one goes on');
  assert.deepEqual(await p.locator('#a1 .panel button > bdi').allInnerTexts(), ['Norland Bank']);
  await p.keyboard.press('Enter');
  assert.equal(await focused(), 'text');
  assert.equal(await p.locator('#a1').isVisible(), true, 'the answer stays beside the form');
  await p.keyboard.press('Control+Enter');
  await done(p);
});

check('what is read aloud', async (p) => {
  for (const field of await p.locator('input:visible, textarea:visible, button:visible').all()) {
    const name = await field.evaluate((e) =>
      (e.labels && e.labels.length ? e.labels[0].textContent : e.getAttribute('aria-label') || e.textContent).trim());
    assert.notEqual(name, '');
  }
  assert.equal(await p.locator('#state').getAttribute('role'), 'status');
  assert.equal(await p.locator('#problem').getAttribute('role'), 'alert');
  assert.equal(await p.locator('h1').count(), 1);
});

for (const scheme of ['light', 'dark']) {
  check(`contrast is at least 4.5 (${scheme})`, async (p) => {
    await p.emulateMedia({ colorScheme: scheme });
    const poor = async () => {
      const pairs = await p.evaluate(colours);
      assert.ok(pairs.length >= 4);
      return pairs.filter(({ ink, paper }) => contrast(ink, paper) < 4.5);
    };
    await p.reload();
    await p.locator('#model', { hasText: 'news-en' }).waitFor();
    await p.locator('#legend summary').click();
    await p.locator('#go').click();
    assert.deepEqual(await poor(), []);
    await p.locator('#legend summary').click();
    await example(p, 'trade');
    await shot(p, `form-${scheme}`, { fullPage: true });
    await p.locator('#go').click();
    await done(p);
    await p.locator('#a1 .panel button').first().click();
    assert.deepEqual(await poor(), []);
    await shot(p, `answer-${scheme}`);
    await p.keyboard.press('Escape');
    await p.emulateMedia({ colorScheme: null });
  });
}

check('nothing is cut off at 400 pixels', async (p) => {
  await p.setViewportSize({ width: 400, height: 800 });
  await p.reload();
  await p.locator('#model', { hasText: 'news-en' }).waitFor();
  const wide = () => p.evaluate(() => document.documentElement.scrollWidth);
  await example(p, 'trade');
  await shot(p, 'narrow-form', { fullPage: true });
  assert.ok(await wide() <= 400, `${await wide()} pixels wide`);
  await p.locator('#go').click();
  await done(p);
  assert.ok(await wide() <= 400, `${await wide()} pixels wide`);
  assert.equal(await p.locator('#a1 .panel').getAttribute('open'), null);
  await shot(p, 'narrow-answer');
  await p.setViewportSize({ width: 1280, height: 900 });
});

check('it prints the article alone', async (p) => {
  await p.emulateMedia({ media: 'print' });
  for (const part of ['#masthead', '#run', '#tools', '#ask']) assert.equal(await p.locator(part).isVisible(), false, part);
  assert.equal(await p.locator('#a1 .s').first().isVisible(), true);
  await p.emulateMedia({ media: null });
});

// With servers of their own.

const alone = (name, flags, run, options = {}) => check(name, async (_, __, open) => {
  const server = await serve(...flags);
  const context = await open(options);
  try {
    const p = await context.newPage();
    await p.goto(server.url);
    await run(p, server, context);
  } finally {
    await context.close();
    server.kill();
  }
});

const tokens = join(folder, 'tokens');
writeFileSync(tokens, `${TOKEN}\n`);

const withToken = async (p, server, context) => {
  await p.locator('#access').waitFor();
  assert.equal(await p.evaluate(() => document.activeElement.id), 'token');
  assert.equal(await p.locator('#problem').isVisible(), false);
  await p.locator('#text').fill('The league met. “We go,” said Ida Brandt.');
  await p.locator('#go').click();
  await p.locator('#problem', { hasText: 'asks for a token' }).waitFor();
  await shot(p, 'token');
  await p.locator('#token').fill('no-such-token-at-all');
  await p.locator('#go').click();
  await p.locator('#problem', { hasText: 'does not know this token' }).waitFor();
  await p.locator('#token').fill('ünfit');
  await p.locator('#go').click();
  await p.locator('#problem', { hasText: 'visible ASCII' }).waitFor();
  await p.locator('#token').fill(TOKEN);
  await p.locator('#text').focus();
  await p.locator('#token-hint', { hasText: 'accepted' }).waitFor();
  await p.locator('#go').click();
  await done(p);
  // In the page's memory, and nowhere else.
  const kept = await p.evaluate(() => JSON.stringify([{ ...localStorage }, { ...sessionStorage }, document.cookie, location.href]));
  assert.equal(kept.includes(TOKEN), false, kept);
  assert.deepEqual(await context.cookies(), []);
  await p.reload();
  await p.locator('#access').waitFor();
  assert.equal(await p.locator('#token').inputValue(), '');
};

alone('a token is asked for, and kept in memory only', ['--auth-tokens', tokens], withToken);

const [pem, key] = [join(folder, 'server.pem'), join(folder, 'server.key')];
execFileSync('openssl', ['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-days', '2',
  '-subj', '/CN=localhost', '-addext', 'subjectAltName=IP:127.0.0.1', '-keyout', key, '-out', pem], { stdio: 'ignore' });

alone('over TLS, with a token', ['--tls-cert', pem, '--tls-key', key, '--auth-tokens', tokens], async (p, server, context) => {
  assert.match(p.url(), /^https:/);
  await withToken(p, server, context);
}, { ignoreHTTPSErrors: true });

alone('a busy server says when to come back', ['--max-calls', '0'], async (p) => {
  await ask(p, { text: 'The league met.' });
  await p.locator('#problem', { hasText: 'as much to read as it can take' }).waitFor();
  assert.match(await p.locator('#problem').innerText(), /UNAVAILABLE · QUEUE_FULL/);
  assert.equal(await p.locator('#text').inputValue(), 'The league met.');
  await shot(p, 'busy');
  await p.locator('#again:enabled').waitFor({ timeout: 70_000 });
  await p.locator('#again').click();
  await p.locator('#problem', { hasText: 'as much to read' }).waitFor();
});

alone('a server that dies is noticed, and what came stays', [], async (p, server) => {
  await ask(p, { text: `${articles[0].text}\n\n`.repeat(60) });
  await p.locator('.s').nth(5).waitFor({ timeout: 60_000 });
  server.kill();
  await p.locator('#problem', { hasText: 'connection broke' }).waitFor();
  const count = await p.locator('.s').count();
  assert.match(await p.locator('#a1 .note').innerText(), new RegExp(`broke off: only the first ${count} sentences`));
  await shot(p, 'broken');
  await p.locator('#again').click();
  await p.locator('#problem', { hasText: 'cannot be reached' }).waitFor();
  assert.equal(await p.locator('#text').isVisible(), true);
});

const opened = [];
const open = async (options) => {
  const context = await launch(join(folder, `profile-${opened.length}`), options);
  opened.push(context);
  return context;
};
let server = null;
let failed = 0;
try {
  server = await serve();
  const context = await open();
  const p = await context.newPage();
  const asked = [];
  const complaints = [];
  p.on('request', (request) => asked.push(request.url()));
  p.on('pageerror', (error) => complaints.push(String(error)));
  p.on('console', (message) => ['error', 'warning'].includes(message.type()) && complaints.push(message.text()));
  await p.goto(server.url);
  check('nobody else was asked, and nothing complained', async () => {
    assert.deepEqual(asked.filter((url) => !url.startsWith(server.url) && !url.startsWith('data:')), []);
    assert.deepEqual(complaints, []);
  });
  for (const { name, run } of checks) {
    try {
      await run(p, server, open);
      console.log(`ok      ${name}`);
    } catch (error) {
      failed += 1;
      console.log(`FAILED  ${name}\n${String(error.stack || error).slice(0, 3000)}`);
    }
  }
} finally {
  for (const context of opened) await context.close();
  if (server) server.kill();
  rmSync(folder, { recursive: true, force: true });
}
process.exitCode = failed ? 1 : 0;

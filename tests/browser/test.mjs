// The HTML page in a real browser: what a click, a key and a filter do, what is read aloud, whether
// colours can be read, and that nothing leaves the page.
//
//   npm ci && node test.mjs

import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { colours, contrast, executable, launch, root, shots } from './browser.mjs';

const folder = mkdtempSync(join(tmpdir(), 'copydesk-'));

const hostile = JSON.stringify({
  id: '</title><img src=x onerror="window.hacked=1">',
  headline: '<script>window.hacked = 1</script> & "quotes"',
  text: 'The league <img src=x onerror="window.hacked=1"> met Norland\'s \u202eenvoy. “</p></bdi><svg onload=window.hacked=1>,” said Ida Brandt.',
  parties: [{ id: '"><script>window.hacked=1</script>', name: 'Norland' }],
});

function page() {
  const file = join(folder, 'page.html');
  const odd = join(folder, 'odd.jsonl');
  writeFileSync(odd, `${hostile}\n{"id": "empty", "text": " "}\n`);
  const articles = ['diplomacy', 'court', 'politics'].map((n) => join(root, `examples/articles/${n}.txt`));
  const args = ['classify', '--format', 'html', '--out', file, ...articles, odd];
  try {
    execFileSync(executable, args, { stdio: ['ignore', 'ignore', 'pipe'] });
    assert.fail('an article failed, which is an exit code of 1');
  } catch (error) {
    assert.equal(error.status, 1, String(error.stderr || error));
  }
  return file;
}

const checks = [];
const check = (name, run) => checks.push({ name, run });

check('the index leads to every article', async (p) => {
  assert.equal(await p.locator('#index li').count(), 5);
  assert.match(await p.title(), / and 4 more · copydesk$/);
  await p.locator('#index a').nth(2).click();
  assert.equal(new URL(p.url()).hash, '#a3');
  assert.match(await p.locator('#index li').last().innerText(), /not answered/);
});

check('hostile text stays text', async (p) => {
  assert.equal(await p.evaluate(() => window.hacked), undefined);
  assert.equal(await p.locator('main img, main script, main svg:not(.strip)').count(), 0);
  // Articles out of sight are not laid out (`content-visibility`), and have no innerText until they are.
  assert.match(await p.locator('#a4 h2').textContent(), /<script>window\.hacked = 1<\/script> & "quotes"/);
});

check('a click on a party shows all its mentions', async (p) => {
  const button = p.locator('#a1 .panel button').first();
  const place = await button.getAttribute('data-p');
  await button.click();
  assert.equal(await button.getAttribute('aria-pressed'), 'true');
  const mentions = await p.locator('#a1 .m').evaluateAll(
    (all, place) => all.filter((m) => m.dataset.p.split(' ').includes(place)).length, place);
  assert.ok(mentions > 0);
  assert.equal(await p.locator('.m.on').count(), mentions);
  assert.match(await p.locator('#chosen').innerText(), new RegExp(`${mentions} mention`));
  await p.locator('#only').check();
  const shown = await p.locator('#a1 .s:visible').count();
  assert.ok(shown > 0 && shown < await p.locator('#a1 .s').count());
  await button.click();
  assert.equal(await p.locator('.on').count(), 0);
  assert.equal(await p.locator('#bar').isVisible(), false);
});

check('a click on a name in the text chooses its party, and on the strip too', async (p) => {
  await p.locator('#a1 .m').first().click();
  assert.equal(await p.locator('#a1 .panel button[aria-pressed=true]').count(), 1);
  await p.keyboard.press('Escape');
  assert.equal(await p.locator('.on').count(), 0);
  await p.locator('#a1 .strip [data-s]').first().click();
  assert.ok(await p.locator('#a1 .m.on').count() > 0);
  await p.locator('#clear').click();
});

check('a speaker is joined to the words', async (p) => {
  const by = p.locator('a.by').first();
  await by.click();
  assert.ok(await p.locator('.s.said').count() > 0);
  assert.equal(await by.evaluate((a) => a.closest('.s').classList.contains('said')), true);
  await p.keyboard.press('Escape');
});

check('the keyboard alone is enough', async (p) => {
  await p.locator('#a1 .panel button').first().focus();
  await p.keyboard.press('Space');
  assert.ok(await p.locator('.m.on').count() > 0);
  await p.locator('#next').focus();
  await p.keyboard.press('Enter');
  assert.equal(await p.evaluate(() => document.activeElement.matches('.m.on')), true);
  const ring = await p.evaluate(() => getComputedStyle(document.activeElement).outlineStyle);
  assert.equal(ring, 'solid');
  await p.keyboard.press('Enter');
  assert.equal(await p.locator('.on').count(), 0, 'a chosen name lets go');
  await p.locator('input[value=quote]').focus();
  await p.keyboard.press('Space');
  assert.equal(await p.locator('.s[data-t=quote]:visible').count(), 0);
  await p.keyboard.press('Space');
  await p.evaluate(() => { document.activeElement.blur(); window.scrollTo(0, 0); });
  const order = [];
  for (let i = 0; i < 8; i++) {
    await p.keyboard.press('Tab');
    order.push(await p.evaluate(() => document.activeElement.tagName));
  }
  assert.ok(order.every((o) => ['INPUT', 'OL', 'A', 'SUMMARY', 'BUTTON'].includes(o)), `${order}`);
});

check('filters by type and by party', async (p) => {
  const all = await p.locator('.s').count();
  for (const box of await p.locator('input[name=kind]:visible').all()) {
    const kind = await box.getAttribute('value');
    await box.uncheck();
    assert.equal(await p.locator(`.s[data-t=${kind}]:visible`).count(), 0, kind);
    await box.check();
  }
  assert.equal(await p.locator('.s:visible').count(), all);
  const name = await p.locator('#a2 .panel button bdi').first().textContent();
  await p.locator('#party').fill(name);
  await p.waitForFunction(() => document.querySelector('#shown').textContent !== '');
  const shown = await p.locator('.s:visible').count();
  assert.ok(shown > 0 && shown < all);
  assert.match(await p.locator('#shown').innerText(), new RegExp(`^${shown} of ${all} sentences shown$`));
  await p.locator('#party').fill('');
  await p.waitForFunction(() => document.querySelector('#shown').textContent === '');
});

check('signs and words, not colour alone', async (p) => {
  for (const [kind, word] of [['neg', 'negative'], ['pos', 'positive']]) {
    for (const mention of await p.locator(`.m.${kind}`).all()) {
      const next = await mention.evaluate((m) => m.textContent + (m.nextElementSibling?.textContent || ''));
      assert.match(next, new RegExp(word));
    }
  }
  for (const sentence of await p.locator('.s .k').all()) {
    assert.notEqual((await sentence.textContent()).trim(), '');
  }
  for (const strip of await p.locator('.strip').all()) {
    assert.match(await strip.getAttribute('aria-label'), /^Along the article: /);
  }
});

for (const scheme of ['light', 'dark']) {
  check(`contrast is at least 4.5 (${scheme})`, async (p) => {
    await p.emulateMedia({ colorScheme: scheme });
    await p.locator('#a1 .panel button').first().click();
    const pairs = await p.evaluate(colours);
    const poor = pairs.filter(({ ink, paper }) => contrast(ink, paper) < 4.5);
    assert.ok(pairs.length >= 8);
    assert.deepEqual(poor, []);
    if (shots) await p.screenshot({ path: join(shots, `${scheme}.png`) });
    await p.keyboard.press('Escape');
    if (shots) await p.screenshot({ path: join(shots, `${scheme}-top.png`) });
    if (shots) {
      await p.locator('#a1').scrollIntoViewIfNeeded();
      await p.locator('#a1').screenshot({ path: join(shots, `${scheme}-article.png`) });
    }
    await p.emulateMedia({ colorScheme: null });
  });
}

check('nothing is cut off at 400 pixels', async (p) => {
  await p.setViewportSize({ width: 400, height: 800 });
  await p.reload();
  const wide = await p.evaluate(() => document.documentElement.scrollWidth);
  assert.ok(wide <= 400, `${wide} pixels wide`);
  assert.equal(await p.locator('#a1 .panel').getAttribute('open'), null);
  await p.locator('#a1 .panel > summary').click();
  await p.locator('#a1 .panel button').first().click();
  if (shots) {
    await p.locator('#a1 h2').scrollIntoViewIfNeeded();
    await p.screenshot({ path: join(shots, 'narrow.png') });
    await p.locator('#a1 .s').nth(4).scrollIntoViewIfNeeded();
    await p.screenshot({ path: join(shots, 'narrow-text.png') });
    await p.evaluate(() => window.scrollTo(0, 0));
    await p.screenshot({ path: join(shots, 'narrow-top.png') });
  }
  await p.keyboard.press('Escape');
  await p.setViewportSize({ width: 1280, height: 900 });
});

check('it prints', async (p) => {
  await p.emulateMedia({ media: 'print' });
  assert.equal(await p.locator('#tools').isVisible(), false);
  assert.equal(await p.locator('#a1 .s').first().isVisible(), true);
  const pdf = await p.pdf({ format: 'A4', path: shots && join(shots, 'print.pdf') });
  assert.ok(pdf.length > 10_000);
  await p.emulateMedia({ media: null });
});

const file = page();
const context = await launch(join(folder, 'profile'));
let failed = 0;
try {
  const p = await context.newPage();
  const asked = [];
  const complaints = [];
  p.on('request', (request) => asked.push(request.url()));
  p.on('pageerror', (error) => complaints.push(String(error)));
  p.on('console', (message) => message.type() === 'error' && complaints.push(message.text()));
  await p.goto(pathToFileURL(file).href);
  check('nothing was asked of anybody, and nothing complained', async () => {
    assert.deepEqual(asked.filter((url) => !url.startsWith(pathToFileURL(file).href)), []);
    assert.deepEqual(complaints, []);
  });
  for (const { name, run } of checks) {
    try {
      await run(p);
      console.log(`ok      ${name}`);
    } catch (error) {
      failed += 1;
      console.log(`FAILED  ${name}\n${error.stack || error}`);
    }
  }
} finally {
  await context.close();
  rmSync(folder, { recursive: true, force: true });
}
process.exitCode = failed ? 1 : 0;

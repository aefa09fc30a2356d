// The page in a real browser: it draws, filters, says nothing to the console and asks nothing of the network, also with
// 20 000 rows.
import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { MAX_HTML, renderHtml } from '../../src/report/html/html.js';
import { assembleReport } from '../../src/report/report.js';
import type { Report } from '../../src/report/types.js';
import { makeTempDir } from '../../src/temp.js';
import { type Browser, CHROMIUM, hasBrowser, launchBrowser, type Page } from '../support/browser.js';
import { largeProfile } from '../support/large-profile.js';
import { notHere } from '../support/tools.js';
import { hostileReport } from './fixture.js';

const skip = notHere(hasBrowser() ? [] : [CHROMIUM]);

const temp = makeTempDir(undefined, 'hotlayer-page');
let browser: Browser;
before(async () => {
  if (!skip) browser = await launchBrowser();
});
after(async () => {
  await browser?.close();
  temp.remove();
});

/** @returns the page, and what it did that it should not */
async function open(report: Report, name: string): Promise<{ page: Page; wrong: string[] }> {
  const file = join(temp.path, `${name}.html`);
  const text = renderHtml(report);
  assert.ok(Buffer.byteLength(text) <= MAX_HTML);
  writeFileSync(file, text);
  const page = await browser.newPage({ viewport: { width: 1200, height: 900 } });
  const wrong: string[] = [];
  page.on('console', (message) => wrong.push(`console: ${message.text()}`));
  page.on('pageerror', (error) => wrong.push(`error: ${error.message}`));
  page.on('dialog', (dialog) => {
    wrong.push('a dialog');
    void dialog.dismiss();
  });
  page.on('request', (request) => {
    if (request.url() !== `file://${file}`) wrong.push(`request: ${request.url()}`);
  });
  await page.goto(`file://${file}`);
  await page.waitForSelector('html[data-drawn=yes]');
  return { page, wrong };
}

test('hostile names are text: nothing runs, nothing is loaded, nothing is said', { skip }, async () => {
  const { page, wrong } = await open(hostileReport(), 'hostile');
  assert.equal(await page.locator('script').count(), 3);
  assert.equal(await page.locator('img, iframe, object, embed, link').count(), 0);
  // biome-ignore lint/performance/useDomNodeTextContent: what a reader sees is wanted
  const text = await page.locator('body').innerText();
  assert.ok(text.includes('/a/<script>alert(1)</script>'));
  assert.ok(text.includes('two\\x0alines\\x0d\\x09and a tab'));
  assert.ok(text.includes('\\u{202e}gnp.exe\\u{2066}'));
  assert.ok(text.includes('/e/\\xff\\xfe not UTF-8'));
  for (const id of ['barcodes', 'cumulative', 'treemap', 'heat', 'stability'])
    assert.ok((await page.locator(`#${id} svg`).count()) > 0, id);
  assert.deepEqual(wrong, []);
  await page.close();
});

test('the policy holds: a script that is put into the page does not run', { skip }, async () => {
  const { page } = await open(hostileReport(), 'policy');
  // A string, for it is the page's: there is no document where this is compiled.
  const ran = await page.evaluate(`(() => {
    const script = document.createElement('script');
    script.textContent = 'window.ran = true';
    document.body.append(script);
    return window.ran === true;
  })()`);
  assert.equal(ran, false);
  const loaded = await page.evaluate(`fetch('data:text/plain,x').then(() => 'loaded', () => 'refused')`);
  assert.equal(loaded, 'refused');
  await page.close();
});

test('filters, sorting, the table views, keys', { skip }, async () => {
  const { page, wrong } = await open(hostileReport(), 'filters');
  const count = page.locator('#waterfall .bar span');
  assert.match((await count.textContent()) ?? '', /13 files/);
  await page.locator('#waterfall input[type=search]').first().fill('<SCRIPT');
  assert.match((await count.textContent()) ?? '', /1 files/);
  await page.locator('#waterfall input[type=search]').first().fill('');
  await page.locator('#waterfall .scroll').focus();
  await page.keyboard.press('ArrowDown');
  await page.keyboard.press('ArrowDown');
  assert.match((await page.locator('#waterfall > p[aria-live]').textContent()) ?? '', /read, layer \d/);
  await page.locator('#waterfall summary').click();
  await page.locator('#waterfall tbody tr').first().waitFor();
  assert.equal(await page.locator('#waterfall tbody tr').count(), 13);
  const head = page.locator('#files th button', { hasText: 'size' });
  await head.click();
  const sizes = await page.locator('#files tbody tr td:nth-child(3)').allInnerTexts();
  assert.equal(sizes.length, 13);
  assert.equal(await page.locator('#files th[aria-sort]').count(), 1);
  // Each chart has its table.
  for (const id of ['barcodes', 'cumulative', 'treemap', 'heat']) {
    await page.locator(`#${id} summary`).first().click();
    await page.locator(`#${id} tbody tr`).first().waitFor();
  }
  assert.deepEqual(wrong, []);
  await page.close();
});

test('on a phone and on paper: nothing is wider than the page, no word is broken into letters', { skip }, async () => {
  const { page, wrong } = await open(hostileReport(), 'narrow');
  await page.setViewportSize({ width: 390, height: 800 });
  for (const medium of ['screen', 'print'] as const) {
    await page.emulateMedia({ media: medium });
    for (const details of await page.locator('#verdict details').all())
      await details.evaluate('(element) => { element.open = true; }').catch(() => undefined);
    const width = (await page.evaluate('document.documentElement.scrollWidth')) as number;
    if (medium === 'screen') assert.ok(width <= 390, `${width}`);
    const height = (await page.evaluate(`Math.max(...[...document.querySelectorAll('td.pass, td.fail')].map((cell) => {
      const range = document.createRange();
      range.selectNodeContents(cell);
      return range.getBoundingClientRect().height;
    }))`)) as number;
    assert.ok(height > 5 && height < 30, `${medium}: PASS is ${height} high`);
  }
  assert.deepEqual(wrong, []);
  await page.close();
});

test('20 000 rows: only those in view are drawn, all can be reached and filtered (bench:report has the pace)', {
  skip,
}, async () => {
  const { page, wrong } = await open(assembleReport({ profile: largeProfile(20_000, 1, 60_000) }), 'large');
  const count = page.locator('#waterfall .bar span');
  const elements = async (): Promise<number> => page.locator('#waterfall *').count();
  assert.match((await count.textContent()) ?? '', /20 000 files/);
  const drawn = await elements();
  assert.ok(drawn < 500, `${drawn} elements`);
  const said = page.locator('#waterfall > p[aria-live]');
  await page.locator('#waterfall .scroll').focus();
  const labels = new Set<string>();
  for (const key of ['Home', 'PageDown', 'End']) {
    await page.keyboard.press(key);
    labels.add((await said.textContent()) ?? '');
  }
  assert.equal(labels.size, 3);
  assert.ok(((await page.evaluate("document.querySelector('#waterfall .scroll').scrollTop")) as number) > 19_000 * 18);
  await page.locator('#waterfall input[type=search]').first().fill('/dir7/');
  assert.match((await count.textContent()) ?? '', /^ 20[67] files/);
  assert.equal(await elements(), drawn);
  assert.deepEqual(wrong, []);
  await page.close();
});

// What the tests share: where things are, the browser, and whether colours can be read.
//
// CHROMIUM names the browser (/usr/bin/chromium), COPYDESK the executable (target/debug/copydesk),
// SHOTS a folder for screenshots.

import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { chromium } from 'playwright-core';

export const root = fileURLToPath(new URL('../..', import.meta.url));
export const executable = process.env.COPYDESK || join(root, 'target/debug/copydesk');
export const shots = process.env.SHOTS;
if (shots) mkdirSync(shots, { recursive: true });

export const launch = (profile, options = {}) =>
  chromium.launchPersistentContext(profile, {
    executablePath: process.env.CHROMIUM || '/usr/bin/chromium',
    headless: true,
    viewport: { width: 1280, height: 900 },
    args: ['--headless', '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run',
      '--disable-background-networking', '--disable-component-update', '--disable-sync'],
    ...options,
  });

// Relative luminance, and the ratio of two colours, as WCAG defines them.
const luminance = ([r, g, b]) => {
  const [x, y, z] = [r, g, b].map((v) => {
    const c = v / 255;
    return c <= 0.03928 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4;
  });
  return 0.2126 * x + 0.7152 * y + 0.0722 * z;
};
export const contrast = (a, b) => {
  const [high, low] = [luminance(a), luminance(b)].sort((x, y) => y - x);
  return (high + 0.05) / (low + 0.05);
};

// Every visible text's own colour and the nearest background that is painted.
export const colours = () => {
  const rgb = (text) => text.match(/[\d.]+/g).map(Number);
  const ground = (element) => {
    for (let e = element; e; e = e.parentElement) {
      const colour = rgb(getComputedStyle(e).backgroundColor);
      if (colour.length < 4 || colour[3] > 0) return colour.slice(0, 3);
    }
    return [255, 255, 255];
  };
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  const found = new Map();
  while (walker.nextNode()) {
    const element = walker.currentNode.parentElement;
    if (!walker.currentNode.data.trim() || element.closest('script, style, .vh, datalist')) continue;
    if (element.getClientRects().length === 0) continue;
    const [ink, paper] = [rgb(getComputedStyle(element).color).slice(0, 3), ground(element)];
    const where = `${element.tagName.toLowerCase()}.${element.className}`;
    found.set(`${ink}|${paper}`, { ink, paper, where, text: walker.currentNode.data.trim().slice(0, 30) });
  }
  return [...found.values()];
};

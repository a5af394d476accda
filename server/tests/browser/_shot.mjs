import { chromium } from 'playwright-core';
const [dir, ...specs] = process.argv.slice(2);
const b = await chromium.launch({ executablePath: '/usr/bin/chromium', args: ['--headless','--no-sandbox','--disable-gpu','--disable-quic','--no-first-run','--disable-background-networking','--disable-component-update','--disable-sync'] });
for (const s of specs) { const [name,url,w,scheme]=s.split('@'); const p = await b.newPage({ viewport: { width: +w, height: 900 }, colorScheme: scheme }); await p.goto(url); const over=await p.evaluate(()=>document.documentElement.scrollWidth-document.documentElement.clientWidth); if(over) console.log(name,w,'overflows by',over); await p.screenshot({ path: `${dir}/${name}.png`, fullPage: true }); await p.close(); }
await b.close();

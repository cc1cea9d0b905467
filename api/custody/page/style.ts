/** How the pages look: one sheet, light and dark, nothing fetched. */
export const STYLE = `
:root { color-scheme: light dark; --line: #8885; --soft: #8881; --accent: #1d4ed8; --stop: #b91c1c; --on: #fff; }
@media (prefers-color-scheme: dark) { :root { --accent: #8ab4ff; --stop: #ff8a8a; --on: #111; } }
* { box-sizing: border-box; }
body { margin: 0; font: 16px/1.55 system-ui, sans-serif; }
main { max-width: 46rem; margin: 0 auto; padding: 1.5rem 1.25rem 4rem; }
h1 { margin: 0 0 .25rem; font-size: 1.6rem; }
h2 { margin: 2rem 0 .5rem; font-size: 1.1rem; }
.quiet { opacity: .75; }
[hidden] { display: none; }
#says { margin: 1rem 0; padding: .8rem 1rem; border-left: .3rem solid var(--accent); background: var(--soft); }
#status { min-height: 1.6em; font-weight: 600; }
#status.wrong { color: var(--stop); }
code { font: .92em/1.5 ui-monospace, monospace; overflow-wrap: anywhere; }
#address { display: block; padding: .7rem .9rem; border: 2px solid var(--accent); border-radius: .4rem; font-size: 1.15rem; font-weight: 600; }
dt { margin-top: .8rem; font-size: .85rem; opacity: .75; }
dd { margin: 0; }
ol, ul { padding-left: 1.4rem; }
table { width: 100%; border-collapse: collapse; font-size: .92rem; }
td { padding: .35rem .6rem .35rem 0; border-top: 1px solid var(--line); vertical-align: top; }
textarea { width: 100%; min-height: 5rem; padding: .5rem; font: .85rem/1.4 ui-monospace, monospace; }
button { margin: .6rem .6rem 0 0; padding: .6rem 1.1rem; border: 2px solid var(--accent); border-radius: .4rem; background: var(--accent); color: var(--on); font: inherit; font-weight: 600; cursor: pointer; }
button.stop { border-color: var(--stop); background: none; color: var(--stop); }
button:disabled { opacity: .45; cursor: default; }
button:focus-visible, textarea:focus-visible, a:focus-visible { outline: 3px solid var(--accent); outline-offset: 2px; }
a { color: var(--accent); }
`;

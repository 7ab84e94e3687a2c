"""The page's one style sheet."""

from __future__ import annotations

from flwr_byzantine.bench.report._colour import DARK, LIGHT, ramp_css

__all__ = ["CSS"]

LIGHT_COLOURS = (
    "--paper:#ffffff;--ink:#1c1b1a;--soft:#5d5a57;--line:#dcd8d3;--faint:#e9e6e2;--quiet:#aaa5a0;"
    "--good:#2f6690;--bad:#b8420f;--code:#f5f2ee"
)
DARK_COLOURS = (
    "--paper:#161514;--ink:#ece8e3;--soft:#a8a29c;--line:#3a3734;--faint:#2b2927;--quiet:#6f6a65;"
    "--good:#7fb2d9;--bad:#f08a4b;--code:#201e1c"
)

CSS = f"""
:root{{color-scheme:light dark;{LIGHT_COLOURS}}}
{ramp_css(LIGHT)}
@media (prefers-color-scheme:dark){{:root{{{DARK_COLOURS}}}
{ramp_css(DARK)}
}}
*{{box-sizing:border-box}}
html{{-webkit-text-size-adjust:100%}}
body{{margin:0 auto;max-width:70rem;padding:2.5rem 1rem 4rem;background:var(--paper);color:var(--ink);
 font:16px/1.5 system-ui,-apple-system,"Segoe UI",Roboto,"Helvetica Neue",Arial,sans-serif}}
h1{{font-size:1.75rem;line-height:1.2;margin:0 0 .5rem;font-weight:650;letter-spacing:-.01em}}
h2{{font-size:1.2rem;margin:3rem 0 .25rem;font-weight:650}}
h3{{font-size:1rem;margin:1.75rem 0 .25rem;font-weight:600}}
p{{margin:.25rem 0 .75rem;max-width:44rem}}
.lead{{font-size:1.05rem}}
.note,figcaption,summary{{color:var(--soft);font-size:.875rem}}
code,pre,.m{{font-family:ui-monospace,SFMono-Regular,Menlo,Consolas,"DejaVu Sans Mono",monospace}}
code{{font-size:.92em;overflow-wrap:anywhere}}
pre{{background:var(--code);padding:.75rem;overflow-x:auto;font-size:.85rem;border-radius:4px}}
figure{{margin:1rem 0 0;min-width:0}}
figcaption{{margin-bottom:.25rem}}
figcaption code{{color:var(--ink)}}
.box{{overflow-x:auto;max-width:100%}}
.panels{{display:grid;grid-template-columns:repeat(auto-fill,minmax(min(100%,19rem),1fr));gap:.5rem 1.5rem}}
.panels svg{{width:100%;height:auto;max-width:25rem}}
svg{{display:block;font:12px system-ui,-apple-system,"Segoe UI",Roboto,"Helvetica Neue",Arial,sans-serif}}
svg text{{fill:var(--ink)}}
svg .m{{font-size:12px}}
svg .s{{fill:var(--soft)}}
svg .n{{font-variant-numeric:tabular-nums}}
svg .e{{text-anchor:end}}
svg .c{{text-anchor:middle}}
svg .b{{font-weight:650}}
svg .badtext{{fill:var(--bad)}}
.rule{{stroke:var(--line);fill:none}}
.void{{fill:none;stroke:var(--line);stroke-dasharray:3 3}}
.curve{{fill:none;stroke:var(--quiet);stroke-width:1;stroke-linejoin:round}}
.curve.none{{stroke:var(--ink);stroke-width:1.5}}
.curve.worst{{stroke:var(--bad);stroke-width:2}}
.chosen{{fill:var(--good)}}
.caught{{fill:var(--bad)}}
.left{{fill:var(--faint)}}
.out{{fill:var(--paper);stroke:var(--soft);stroke-width:.75}}
.bar{{fill:var(--good)}}
.dot{{fill:var(--bad)}}
.tick{{stroke:var(--ink);stroke-width:2}}
.key{{display:flex;flex-wrap:wrap;gap:.25rem 1.25rem;font-size:.875rem;color:var(--soft);margin:.5rem 0}}
.key span{{display:inline-flex;align-items:center;gap:.4rem}}
details{{margin:.5rem 0}}
details+details,.panels+details{{margin-top:1.25rem}}
summary{{cursor:pointer}}
table{{border-collapse:collapse;font-size:.85rem;margin:.5rem 0}}
th,td{{text-align:left;padding:.25rem .75rem .25rem 0;border-bottom:1px solid var(--line);vertical-align:top}}
th{{font-weight:600}}
td{{font-variant-numeric:tabular-nums}}
dl{{display:grid;grid-template-columns:max-content 1fr;gap:.15rem 1rem;font-size:.875rem;margin:.5rem 0}}
dt{{color:var(--soft)}}
dd{{margin:0;overflow-wrap:anywhere}}
@media print{{details>*{{display:block}}body{{max-width:none}}}}
"""

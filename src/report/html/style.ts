// The page's looks: light, dark and on paper. Layers have colours that are told apart by colour-blind readers too
// (Okabe and Ito's, and two greys); heat is one hue from light to dark.
export const STYLE = `
:root{--paper:#fff;--ink:#1b1f24;--faint:#626b76;--line:#dfe3e8;--strip:#e9edf1;--mark:#c2185b;--accent:#0b62a8;
--good:#1a7f37;--bad:#b3261e;--warn:#8a5a00;
--l0:#0072b2;--l1:#e69f00;--l2:#009e73;--l3:#cc79a7;--l4:#56b4e9;--l5:#d55e00;--l6:#8a7d00;--l7:#7a5195;--l8:#6b7280;--l9:#3d4b5c;
--t0:#edf0f3;--t1:#fde3c4;--t2:#fbc791;--t3:#f7a55c;--t4:#e67d31;--t5:#c4570f;--t6:#8f3a00;--every:#c4570f;--some:#f3b06d;--on-hot:#fff}
@media (prefers-color-scheme:dark){:root{--paper:#14181d;--ink:#e4e8ec;--faint:#98a2ad;--line:#323a44;--strip:#262d35;--mark:#ff6f9f;--accent:#6cb6f5;
--good:#57c770;--bad:#ff8a80;--warn:#e2b04a;
--l0:#4ea5dd;--l1:#efb537;--l2:#2fc79a;--l3:#dd9cc0;--l4:#7fc8f2;--l5:#f0813d;--l6:#cfc04a;--l7:#b08acb;--l8:#9aa3ae;--l9:#c5ced8;
--t0:#262d35;--t1:#4a3524;--t2:#6d4525;--t3:#965722;--t4:#c26c20;--t5:#e88a35;--t6:#ffb56b;--every:#e88a35;--some:#7d512b;--on-hot:#14181d}}
*{box-sizing:border-box}
html{background:var(--paper);color:var(--ink);font:15px/1.5 system-ui,"Segoe UI",Roboto,"DejaVu Sans",sans-serif;scroll-behavior:smooth}
body{margin:0 auto;max-width:1180px;padding:20px 24px 60px}
.skip{position:absolute;left:-999px}.skip:focus{left:8px;top:8px;background:var(--paper);padding:4px 8px}
header{border-bottom:1px solid var(--line);padding-bottom:14px}
.tool{color:var(--faint);margin:0;letter-spacing:.06em;font-size:13px}
h1{font-size:24px;margin:0 0 10px;overflow-wrap:anywhere}
h2{font-size:19px;margin:36px 0 4px}h3{font-size:14px;margin:16px 0 4px;color:var(--faint);font-weight:600;overflow-wrap:anywhere}
dl{display:flex;flex-wrap:wrap;gap:2px 28px;margin:0;font-size:14px}
dl div{display:flex;gap:8px;min-width:0}dt{color:var(--faint);flex:none}dd{margin:0;overflow-wrap:anywhere;min-width:0}
.lead{font-size:17px;max-width:75ch}.finding{max-width:85ch;margin:2px 0 10px}
.absent,.hint{color:var(--faint)}.hint{font-size:13px;margin:4px 0;overflow-wrap:anywhere;min-height:1.5em}
.warnings{border-left:3px solid var(--warn);padding:4px 0 4px 28px;margin:14px 0}
.wide{overflow-x:auto;margin:8px 0}
table{border-collapse:collapse;font-size:13.5px}
caption{text-align:left;color:var(--faint);font-size:13px;padding-bottom:2px}
th,td{text-align:left;padding:3px 14px 3px 0;border-bottom:1px solid var(--line);vertical-align:top}
td.short{white-space:nowrap}td.long{overflow-wrap:anywhere;min-width:min(30ch,60vw)}
th{font-weight:600;white-space:nowrap}th button{font:inherit;font-weight:600;border:0;padding:0;background:none;color:inherit}
th[aria-sort=ascending] button::after{content:" ▲"}th[aria-sort=descending] button::after{content:" ▼"}
.n{text-align:right;white-space:nowrap;font-variant-numeric:tabular-nums}
.pass{color:var(--good);font-weight:600}.fail{color:var(--bad);font-weight:600}td.warn{color:var(--warn);font-weight:600}
.tiles{display:grid;grid-template-columns:repeat(auto-fit,minmax(150px,1fr));gap:10px;list-style:none;margin:16px 0;padding:0}
.tiles li{border:1px solid var(--line);border-radius:8px;padding:8px 12px;display:flex;flex-direction:column}
.tiles span,.tiles small{color:var(--faint);font-size:12.5px;line-height:1.35}.tiles b{font-size:22px;font-weight:600;font-variant-numeric:tabular-nums}
.keys{display:flex;flex-wrap:wrap;gap:2px 18px}.key{display:inline-block;width:11px;height:11px;margin-right:6px;vertical-align:-1px}
.key.every{background:var(--every)}.key.some{background:var(--some)}.key.strip{background:var(--strip)}.key.stop{background:var(--mark);width:3px}
.key.l0{background:var(--l0)}.key.l1{background:var(--l1)}.key.l2{background:var(--l2)}.key.l3{background:var(--l3)}.key.l4{background:var(--l4)}.key.l5{background:var(--l5)}.key.l6{background:var(--l6)}.key.l7{background:var(--l7)}.key.l8{background:var(--l8)}.key.l9{background:var(--l9)}
.key.t0{background:var(--t0)}.key.t1{background:var(--t1)}.key.t2{background:var(--t2)}.key.t3{background:var(--t3)}.key.t4{background:var(--t4)}.key.t5{background:var(--t5)}.key.t6{background:var(--t6)}
.bar{display:flex;flex-wrap:wrap;gap:6px 12px;align-items:center;margin:6px 0;font-size:13.5px}
button,select,input{font:inherit;color:inherit;background:var(--paper);border:1px solid var(--line);border-radius:5px;padding:2px 9px}
button{cursor:pointer}button:disabled{opacity:.45;cursor:default}
:focus-visible{outline:2px solid var(--accent);outline-offset:1px}
details{margin:6px 0}summary{cursor:pointer;color:var(--accent);font-size:13.5px;width:max-content}
svg{display:block;max-width:100%;font:12px system-ui,"Segoe UI",Roboto,"DejaVu Sans",sans-serif}
svg text{fill:var(--ink)}.axis path,.axis line{stroke:var(--line)}.axis text,.axis .name{fill:var(--faint);font-size:12px}
.strip{fill:var(--strip)}.every{fill:var(--every)}.some{fill:var(--some)}.landmark{stroke:var(--mark);stroke-width:2}
.label{fill:var(--ink)}.label.size{fill:var(--faint)}
.curve{fill:none;stroke:var(--accent);stroke-width:2}.limit{stroke:var(--faint);stroke-dasharray:4 4}text.limit{stroke:none;fill:var(--faint)}
.marker{stroke:var(--mark);stroke-width:1.5}text.marker{stroke:none;fill:var(--mark)}.dot{fill:var(--accent)}
.h0{fill:var(--t2)}.h1{fill:var(--t3)}.h2{fill:var(--t4)}.h3{fill:var(--t5)}.h4{fill:var(--t6)}
.t0{fill:var(--t0)}.t1{fill:var(--t1)}.t2{fill:var(--t2)}.t3{fill:var(--t3)}.t4{fill:var(--t4)}.t5{fill:var(--t5)}.t6{fill:var(--t6)}
.cell rect{stroke:var(--paper)}.can{cursor:pointer}.can:hover rect,.can:focus rect{stroke:var(--ink)}svg .on-hot{fill:var(--on-hot)}
.value{font-size:11px}.halo{paint-order:stroke;stroke:var(--paper);stroke-width:3px}
.side{display:flex;flex-wrap:wrap;gap:10px 40px}
.line{fill:none;stroke:var(--l8);stroke-width:2}.line.lazy-before{stroke:var(--some)}.line.lazy-after{stroke:var(--every)}.line.ideal{stroke:var(--l2)}.line.lazy-before,.line.lazy-after,.line.ideal{fill:none}
.spot{fill:var(--paper);stroke:var(--ink);stroke-width:1.5}
.way{fill:var(--l8)}.lazy-before{fill:var(--some)}.lazy-after{fill:var(--every)}.ideal{fill:var(--l2)}.whisker{stroke:var(--ink)}
.contour{stroke:var(--paper);stroke-width:.5}
.scroll{height:430px;overflow-y:auto;border:1px solid var(--line);position:relative;contain:strict}
.rows{position:sticky;top:0;display:block}.spacer{width:1px}.overview{display:block;border:1px solid var(--line);cursor:crosshair;touch-action:none}
canvas{max-width:100%}.crumbs{display:flex;gap:4px;flex-wrap:wrap}
@media print{:root{--paper:#fff;--ink:#000;--faint:#444;--line:#bbb;--strip:#eee;--mark:#a0003e;--accent:#004a80;--every:#b04a08;--some:#f0b070;--on-hot:#fff;
--t0:#edf0f3;--t1:#fde3c4;--t2:#fbc791;--t3:#f7a55c;--t4:#e67d31;--t5:#c4570f;--t6:#8f3a00;--good:#1a7f37;--bad:#b3261e;--warn:#8a5a00;
--l0:#0072b2;--l1:#e69f00;--l2:#009e73;--l3:#cc79a7;--l4:#56b4e9;--l5:#d55e00;--l6:#8a7d00;--l7:#7a5195;--l8:#6b7280;--l9:#3d4b5c}
@page{margin:14mm}svg{height:auto}body{max-width:none;padding:0}.wide{overflow:visible}section{break-inside:auto}h2,h3{break-after:avoid}.chart svg,tr{break-inside:avoid}
.bar,.skip,details.data,.hint[aria-live]{display:none}.scroll{overflow:hidden}*{print-color-adjust:exact;-webkit-print-color-adjust:exact}}
`;

"use strict";
/* Shows one step of a trace after the other. All numbers and pictures were made by ckpt; here they are only chosen. */
(() => {
  const byId = (id) => document.getElementById(id);
  const trace = JSON.parse(byId("agent-data").textContent);
  const scrub = byId("agent-step"), toggle = byId("agent-play"), rate = byId("agent-rate");
  let now = 0, timer = null;

  const say = (node, value) => { if (node) node.textContent = value === null || value === undefined ? "" : value; };
  const picture = (id, number) => {
    const image = byId(id);
    if (image && number !== undefined) image.src = trace.pictures[number];
  };
  const bars = (step) => {
    for (const [name, values] of Object.entries(step.bars)) {
      const known = values.filter((value) => value !== null);
      const low = Math.min(...known), span = Math.max(...known) - low || 1;
      values.forEach((value, i) => {
        const row = byId(`agent-${name}-${i}`);
        if (!row) return;
        row.classList.toggle("chosen", step.action === i);
        const share = value === null ? 0 : (value - low) / span;
        row.querySelector("rect").setAttribute("width", (4 + 96 * share).toFixed(2));
        say(row.querySelector("td.n"), value === null ? "not finite" : value);
      });
    }
  };
  const distribution = (step) => {
    const line = byId("agent-atoms");
    if (!line || !step.atoms || !step.atoms.length) return;
    const low = Math.min(0, ...step.atoms), span = Math.max(...step.atoms) - low || 1, wide = step.atoms.length - 1 || 1;
    line.setAttribute("points", step.atoms.map((y, i) =>
      `${(i / wide * 300).toFixed(1)},${(78 - (y - low) / span * 76).toFixed(1)}`).join(" "));
    say(byId("agent-atoms-text"), step.atoms.join(", "));
  };
  const show = (number) => {
    now = Math.max(0, Math.min(trace.steps.length - 1, number));
    const step = trace.steps[now];
    scrub.value = now;
    scrub.setAttribute("aria-valuetext", `step ${step.step}`);
    for (const name of ["step", "episode", "reward", "return"]) say(byId(`agent-${name}-now`), step[name]);
    const named = byId(`agent-action-${step.action}`);
    say(byId("agent-action-now"), named ? named.textContent : [].concat(step.action).join(", "));
    for (const [name, value] of Object.entries(step.said)) say(byId(`agent-said-${name}`), value);
    picture("agent-frame", step.frame);
    picture("agent-seen", step.seen);
    picture("agent-where", step.where);
    bars(step);
    distribution(step);
  };
  const stop = () => { clearInterval(timer); timer = null; toggle.textContent = "play"; };
  const play = () => {
    if (now === trace.steps.length - 1) show(0);
    toggle.textContent = "pause";
    timer = setInterval(() => now < trace.steps.length - 1 ? show(now + 1) : stop(), 1000 / (trace.fps * rate.value));
  };
  const step = (by) => { if (timer) stop(); show(now + by); };

  toggle.addEventListener("click", () => timer ? stop() : play());
  byId("agent-back").addEventListener("click", () => step(-1));
  byId("agent-on").addEventListener("click", () => step(1));
  scrub.addEventListener("input", () => { if (timer) stop(); show(Number(scrub.value)); });
  rate.addEventListener("change", () => { if (timer) { stop(); play(); } });
  byId("agent-controls").hidden = false;
  show(0);
})();

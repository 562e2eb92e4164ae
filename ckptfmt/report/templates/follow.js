"use strict";
/* Shows the page of a run anew when the server says that the run went on. */
(() => {
  const source = new EventSource(location.pathname.replace(/^\/runs\//, "/follow/"));
  source.onmessage = async () => {
    const answer = await fetch(location.href);
    if (!answer.ok) return;
    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
    /* What was unfolded stays unfolded. */
    const open = [...document.querySelectorAll("details")].map((one) => one.open);
    document.querySelector("main").replaceWith(page.querySelector("main"));
    document.querySelectorAll("details").forEach((one, i) => { one.open = Boolean(open[i]); });
  };
})();

"use strict";
// Keeps the page current. Each event brings the sections that have changed; they are changed in
// place, node by node, so that focus, selection, scroll positions and opened details stay.
(() => {
  const live = document.getElementById("live");
  const address = document.body.dataset.events;
  const AGAIN = 5000;

  const say = (state, text) => {
    if (live.dataset.state !== state) {
      live.dataset.state = state;
      live.textContent = text;
    }
  };

  const alike = (one, other) =>
    one.nodeType === other.nodeType && one.nodeName === other.nodeName && one.id === other.id;

  const attributes = (old, fresh) => {
    for (const { name } of [...old.attributes]) {
      if (!fresh.hasAttribute(name) && name !== "open") old.removeAttribute(name);
    }
    for (const { name, value } of fresh.attributes) {
      if (old.getAttribute(name) !== value) old.setAttribute(name, value);
    }
  };

  const become = (old, fresh) => {
    if (old.nodeType !== Node.ELEMENT_NODE) {
      if (old.nodeValue !== fresh.nodeValue) old.nodeValue = fresh.nodeValue;
      return;
    }
    attributes(old, fresh);
    const wanted = [...fresh.childNodes];
    wanted.forEach((child, index) => {
      const there = old.childNodes[index];
      if (!there) old.append(child);
      else if (alike(there, child)) become(there, child);
      else there.replaceWith(child);
    });
    while (old.childNodes.length > wanted.length) old.lastChild.remove();
  };

  const take = (event) => {
    for (const [id, html] of Object.entries(JSON.parse(event.data))) {
      const old = document.getElementById(id);
      const template = document.createElement("template");
      template.innerHTML = html;
      const fresh = template.content.firstElementChild;
      if (old && fresh) become(old, fresh);
    }
    say("live", "Live");
  };

  const watch = () => {
    const source = new EventSource(address);
    source.addEventListener("sections", take);
    source.addEventListener("open", () => say("live", "Live"));
    source.addEventListener("error", () => {
      const time = new Date().toLocaleTimeString();
      say("lost", `Not live: no connection since ${time}. Trying again.`);
      // A browser gives up by itself when it is answered with an error, as by a router that ends.
      if (source.readyState === EventSource.CLOSED) setTimeout(watch, AGAIN);
    });
  };

  watch();
})();

"use strict";
// Keeps the page current. Each event contains the sections that changed; the script updates them in
// place, node by node, which preserves focus, selection, scroll positions and open details.
(() => {
  const live = document.getElementById("live");
  const address = document.body.dataset.events;
  const RECONNECT_MS = 5000;

  const showState = (state, text) => {
    if (live.dataset.state !== state) {
      live.dataset.state = state;
      live.textContent = text;
    }
  };

  const sameElement = (one, other) =>
    one.nodeType === other.nodeType && one.nodeName === other.nodeName && one.id === other.id;

  const updateAttributes = (old, fresh) => {
    for (const { name } of [...old.attributes]) {
      if (!fresh.hasAttribute(name) && name !== "open") old.removeAttribute(name);
    }
    for (const { name, value } of fresh.attributes) {
      if (old.getAttribute(name) !== value) old.setAttribute(name, value);
    }
  };

  const update = (old, fresh) => {
    if (old.nodeType !== Node.ELEMENT_NODE) {
      if (old.nodeValue !== fresh.nodeValue) old.nodeValue = fresh.nodeValue;
      return;
    }
    updateAttributes(old, fresh);
    const children = [...fresh.childNodes];
    children.forEach((child, index) => {
      const current = old.childNodes[index];
      if (!current) old.append(child);
      else if (sameElement(current, child)) update(current, child);
      else current.replaceWith(child);
    });
    while (old.childNodes.length > children.length) old.lastChild.remove();
  };

  const onSections = (event) => {
    for (const [id, html] of Object.entries(JSON.parse(event.data))) {
      const old = document.getElementById(id);
      const template = document.createElement("template");
      template.innerHTML = html;
      const fresh = template.content.firstElementChild;
      if (old && fresh) update(old, fresh);
    }
    showState("live", "Live");
  };

  const connect = () => {
    const source = new EventSource(address);
    source.addEventListener("sections", onSections);
    source.addEventListener("open", () => showState("live", "Live"));
    source.addEventListener("error", () => {
      const time = new Date().toLocaleTimeString();
      showState("lost", `Not live: no connection since ${time}. Reconnecting.`);
      // An EventSource does not reconnect after an HTTP error, such as a draining router's 503.
      if (source.readyState === EventSource.CLOSED) setTimeout(connect, RECONNECT_MS);
    });
  };

  connect();
})();

// Search: every word typed must occur in an entry; entries whose name starts with it come first. "/" goes to the box.
"use strict";

(() => {
  const box = document.getElementById("search");
  const list = document.getElementById("found");
  const entries = window.MINSEG_SEARCH.map(([name, about, url, more]) => ({
    name, about, url,
    start: name.toLowerCase(),
    text: `${name} ${about} ${more}`.toLowerCase(),
  }));
  const MOST = 12;
  let chosen = -1;

  const score = (entry, words, typed) => {
    if (entry.start === typed) return 0;
    if (entry.start.startsWith(typed)) return 1;
    if (words.every((word) => entry.start.includes(word))) return 2;
    if (words.every((word) => `${entry.start} ${entry.about.toLowerCase()}`.includes(word))) return 3;
    return 4;
  };

  const find = (typed) => {
    const words = typed.split(/\s+/);
    return entries
      .filter((entry) => words.every((word) => entry.text.includes(word)))
      .map((entry, order) => ({ entry, order, rank: score(entry, words, typed) }))
      .sort((a, b) => a.rank - b.rank || a.order - b.order)
      .slice(0, MOST)
      .map(({ entry }) => entry);
  };

  const close = () => {
    list.hidden = true;
    chosen = -1;
    box.setAttribute("aria-expanded", "false");
    box.removeAttribute("aria-activedescendant");
  };

  const choose = (position) => {
    const items = [...list.querySelectorAll("[role=option]")];
    if (!items.length) return;
    chosen = (position + items.length) % items.length;
    items.forEach((item, at) => item.setAttribute("aria-selected", String(at === chosen)));
    items[chosen].scrollIntoView({ block: "nearest" });
    box.setAttribute("aria-activedescendant", items[chosen].id);
  };

  const show = () => {
    const typed = box.value.trim().toLowerCase();
    list.replaceChildren();
    if (!typed) return close();
    const found = find(typed);
    found.forEach((entry, position) => {
      const item = document.createElement("li");
      item.id = `found-${position}`;
      item.setAttribute("role", "option");
      item.dataset.url = entry.url;
      const name = document.createElement("b");
      name.textContent = entry.name;
      const about = document.createElement("span");
      about.textContent = entry.about;
      item.append(name, about);
      item.addEventListener("mousedown", (event) => { event.preventDefault(); location.href = entry.url; close(); });
      list.append(item);
    });
    if (!found.length) {
      const item = document.createElement("li");
      item.className = "nothing";
      item.textContent = "Nothing found.";
      list.append(item);
    }
    list.hidden = false;
    box.setAttribute("aria-expanded", "true");
    choose(0);
  };

  box.addEventListener("input", show);
  box.addEventListener("focus", () => { if (box.value) show(); });
  box.addEventListener("blur", close);
  box.addEventListener("keydown", (event) => {
    if (event.key === "Escape") close();
    else if (list.hidden) return;
    else if (event.key === "ArrowDown") choose(chosen + 1);
    else if (event.key === "ArrowUp") choose(chosen - 1);
    else return;
    event.preventDefault();
  });
  box.form.addEventListener("submit", (event) => {
    event.preventDefault();
    const item = list.querySelector("[aria-selected=true]");
    if (item) { location.href = item.dataset.url; close(); }
  });
  document.addEventListener("keydown", (event) => {
    const typing = /^(INPUT|TEXTAREA)$/.test(document.activeElement.tagName);
    if (event.key === "/" && !typing && !event.ctrlKey && !event.metaKey) { event.preventDefault(); box.focus(); }
  });

  // A link to an id inside of a folded part opens it.
  const unfold = () => {
    const target = location.hash && document.getElementById(decodeURIComponent(location.hash.slice(1)));
    for (let part = target; part; part = part.parentElement) if (part.tagName === "DETAILS") part.open = true;
  };
  window.addEventListener("hashchange", unfold);
  unfold();
})();

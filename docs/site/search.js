// The field in the navigation: the names of the library that contain what is typed, those that begin with it first.
"use strict";
(function () {
    const field = document.getElementById("search"), results = document.getElementById("results");
    const short = (name) => name.replace(/^esrpc_/i, "");
    field.addEventListener("input", function () {
        const typed = field.value.trim().toLowerCase().replace(/[ -]/g, "_");
        const found = typed === "" ? [] : names.filter(([name]) => name.toLowerCase().includes(typed));
        const rank = ([name]) => [typed, short(typed)].some((text) => short(name).toLowerCase().startsWith(text)) ? 0 : 1;
        found.sort((a, b) => rank(a) - rank(b));
        results.replaceChildren(...found.slice(0, 40).map(function ([name, url]) {
            const item = document.createElement("li"), link = document.createElement("a");
            link.href = url;
            link.textContent = name;
            item.append(link);
            return item;
        }));
        if (typed !== "" && found.length === 0) results.textContent = "No such name.";
    });
    field.addEventListener("keydown", function (event) {
        const first = results.querySelector("a");
        if (event.key === "Enter" && first !== null) first.click();
        if (event.key === "Escape") field.value = "", results.replaceChildren();
    });
    document.querySelector("nav .search").hidden = false;
    if (window.matchMedia("(max-width: 60rem)").matches) document.querySelector("nav details").open = false;
    // The reader's place in a navigation that is longer than the window.
    const current = document.querySelector("nav [aria-current]");
    if (current !== null && !window.location.hash) current.scrollIntoView({block: "nearest"});
})();

#!/usr/bin/env python3
"""Makes pages that are good to read of what Doxygen has written: finish.py HTML TAGFILE

Adds the navigation, links names of the library wherever they stand, gives headings the anchors that Markdown readers
expect, and turns Doxygen's layout tables into lists and declarations. Fails if a link leads nowhere."""

import html
import json
import re
import shutil
import sys
import xml.etree.ElementTree as xml
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
NAME = re.compile(r"\b(?:esrpc_\w+|ESRPC_\w+|on_\w+\b(?!\())\b")
problems = []


def without_tags(text):
    return html.unescape(re.sub(r"<[^>]*>", "", text)).replace("\xa0", " ").strip()


def slug(heading):
    """The anchor that GitHub gives to a heading."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


def names_in(tagfile):
    """Each name of the header with the place where it is explained."""
    places, slots = {}, {}
    for compound in xml.parse(tagfile).getroot():
        if compound.get("kind") == "struct":
            anchor = compound.findtext("anchor")
            places[compound.findtext("name")] = compound.findtext("filename") + (f"#{anchor}" if anchor else "")
        for member in compound.findall("member"):
            url = f"{member.findtext('anchorfile')}#{member.findtext('anchor')}"
            if member.get("kind") == "variable":
                slots.setdefault(member.findtext("name"), set()).add(url)
            else:
                places[member.findtext("name")] = url
            for value in member.findall("enumvalue"):
                places[value.text] = f"{value.get('anchorfile')}#{value.get('anchor')}"
    places.update({name: urls.pop() for name, urls in slots.items() if name.startswith("on_") and len(urls) == 1})
    return places


def renamed(files):
    """Doxygen's names for the files of pages made of Markdown, with the names that they get here."""
    pages = [path.stem for path in ROOT.glob("docs/*.md")] + ["security", "changelog"]
    letters = {re.sub(r"[\W_]", "", page).lower(): page for page in pages}
    found = {}
    for file in files:
        # Versions of Doxygen write slashes, hyphens and capitals in different ways.
        plain = re.sub(r"^md_(docs_2?)?|(_8md)?\.html$", "", file.name)
        found[file.name] = letters[re.sub(r"[\W_]", "", plain).lower()] + ".html"
    return found


def navigation():
    """The pages in the order of the lists of docs/index.md, and the groups in the order of the header."""
    items = ['<p class="home"><a href="index.html">libeventstream_rpc</a></p>',
             '<div class="search" hidden><input id="search" type="search" placeholder="Find a name" '
             'aria-label="Find a name" autocomplete="off" spellcheck="false"><ul id="results"></ul></div>',
             '<details open><summary>Contents</summary>']
    for line in (ROOT / "docs/index.md").read_text().splitlines():
        if line.startswith("## "):
            items.append(f"</ul><h2>{line[3:]}</h2><ul>")
        elif link := re.match(r"\* \[(.*?)\]\((.*?)\)", line):
            items.append(f'<li><a href="{page_of(link[2])}">{link[1]}</a></li>')
    items.append("</ul><h2>Reference</h2><ul>")
    header = (ROOT / "include/eventstream_rpc.h").read_text()
    for group, title in re.findall(r"@defgroup (\w+) (.*)", header):
        items.append(f'<li><a href="group__{group}.html">{title}</a></li>')
    items.append('<li><a href="eventstream__rpc_8h.html">The header as a whole</a></li></ul></details>')
    return "\n".join(items).replace("</summary>\n</ul>", "</summary>\n")


def page_of(target, folder="docs"):
    """Where a link from a file in this folder leads here; files that are not pages are copied."""
    path, _, anchor = target.partition("#")
    file = (ROOT / folder / path).resolve()
    pages = {ROOT / "SECURITY.md": "security.html", ROOT / "CHANGELOG.md": "changelog.html"}
    if file in pages:
        place = pages[file]
    elif file.parent == ROOT / "docs" and file.suffix == ".md":
        place = file.stem + ".html"
    elif file == ROOT / "include/eventstream_rpc.h":
        place = "eventstream__rpc_8h.html"
    elif file.is_file():
        relative = file.relative_to(ROOT)
        copy = OUTPUT / "files" / relative
        # Browsers show text, and download what they do not know.
        copy = copy if copy.suffix in (".svg", ".png") else copy.with_name(copy.name + ".txt")
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, copy)
        place = str(copy.relative_to(OUTPUT))
    else:
        return target
    return place + ("#" + anchor if anchor else "")


def declaration(match):
    """A declaration as C programmers write it, with its links."""
    text = re.sub(r"</?(?!a\b)[a-z][^>]*>", " ", match[1]).replace("&#160;", " ")
    text = re.sub(r"\s+", " ", text).strip()
    text = re.sub(r"\s*\(\s*\)\s*", "(void)", text) if re.search(r"\(\s*\)\s*$", text) else text
    text = re.sub(r" ?\( ", "(", text).replace(" )", ")").replace(" ,", ",").replace("* ", "*")
    # Doxygen writes pointers to functions as "void(*struct::name)(...)".
    text = re.sub(r"\b(?:esrpc_\w+|<a\b[^>]*>esrpc_\w+</a>)::", "", text)
    text = text.replace("(*", " (*").replace("  ", " ").replace(") (", ")(")
    if len(without_tags(text)) > 88 and "(" in text:
        head, parameters = text.rsplit("(", 1)
        text = head + "(\n    " + parameters.replace(", ", ",\n    ")
    return f'<pre class="declaration">{text}</pre>'


def member_list(match):
    """What a group has, as a list: names with their first sentences."""
    level, title = re.search(r"<(h[23]).*?>(.*?)</\1>", match[0], re.S).groups()
    if level == "h3":
        return ""  # The members of a struct, which are explained right below.
    items, text = [], match[0]
    for item, brief in re.findall(
            r'<td class="memItemRight".*?>(.*?)</td></tr>(?:\s*<tr class="memdesc:.*?<td class="mdescRight">(.*?)</td></tr>)?',
            text, re.S):
        name = re.search(r'<a class="el" href="[^"]*">[^<]*</a>', item)
        brief = re.sub(r'<a href="[^"]*">More\.\.\.</a>|<br />', "", brief).strip()
        items.append(f"<li>{name[0] if name else item} <span>{brief}</span></li>")
    return f'<h2>{without_tags(title)}</h2>\n<ul class="members">{"".join(items)}</ul>' if items else ""


def with_links(text, places):
    """Links each name that stands in the text, in code or not, but not in links, headings and blocks of code."""
    parts, closed_by = re.split(r"(<[^>]*>)", text), None
    for number, part in enumerate(parts):
        if part.startswith("<"):
            tag = re.match(r"</?(\w*)", part)[1]
            if closed_by is None and tag in ("a", "h1", "h2", "h3", "script", "nav", "title", "pre") and part[1] != "/":
                closed_by = tag
            elif closed_by is None and part.startswith('<div class="fragment"'):
                closed_by = "div fragment"
            elif closed_by == "div fragment" and part == "</div>" and parts[number + 1].startswith("<!-- fragment"):
                closed_by = None
            elif part == f"</{closed_by}>":
                closed_by = None
            if closed_by == "div fragment" and part == "</div>" and "".join(parts[number + 1:number + 3]).startswith(
                    "<!-- fragment"):
                closed_by = None
        elif closed_by is None:
            parts[number] = NAME.sub(
                lambda name: f'<a href="{places[name[0]]}">{breakable(name[0])}</a>' if name[0] in places
                else breakable(name[0]), part)
    return "".join(parts)


def labelled(match):
    """A table that can be scrolled, whose cells know the titles of their columns, for screens with no room for these."""
    titles = [without_tags(title) for title in re.findall(r"<th\b.*?>(.*?)</th>", match[0], re.S)]
    if len(titles) < 3:
        return f'<div class="scroll">{match[0]}</div>'

    def row(cells):
        numbers = iter(range(len(titles)))

        def cell(found):
            title = titles[next(numbers)]
            if title == titles[0]:
                return found[0]
            what = f'data-title="{html.escape(title)}"' if found[2].strip() else "data-empty"
            return f"<td {what}{found[1]}>{found[2]}</td>"
        return re.sub(r"<td\b([^>]*)>(.*?)</td>", cell, cells[0], flags=re.S)

    return '<div class="scroll">' + re.sub(r"<tr[^>]*>\s*<td.*?</tr>", row, match[0], flags=re.S) + "</div>"


def breakable(name):
    """A long name may go on in the next line behind an underscore."""
    return name.replace("_", "_<wbr>")


def picture(match):
    """An image that leaves its page's background alone, described by its own title."""
    title = xml.parse(OUTPUT / match[1]).getroot().findtext("{http://www.w3.org/2000/svg}title")
    return f'<div class="image"><img src="{match[1]}" alt="{html.escape(title)}">'


def heading(match):
    level, title = int(match[1]) + 1, match[2].strip()
    anchor = slug(without_tags(title))
    return f'<h{level} id="{anchor}">{title}<a class="here" href="#{anchor}" aria-label="Link to this">#</a></h{level}>'


def finished(text, name, places, numbers, navigation_of_all):
    folder = "." if name in ("security.html", "changelog.html") else "docs"
    text = re.sub(r'<div class="header">.*?<div class="title">(.*?)</div>\s*</div>\s*</div>\s*(<!--header-->)?',
                  lambda title: f"<h1>{title[1].strip()}</h1>", text, count=1, flags=re.S)
    text = re.sub(r'<div id="nav-path".*?</div>|<div class="ttc".*?</div></div>', "", text, flags=re.S)
    text = re.sub(r'<table class="memberdecls">.*?</table>', member_list, text, flags=re.S)
    text = re.sub(r'<div class="memproto">(.*?)</div>(?=<div class="memdoc">)', declaration, text, flags=re.S)
    text = re.sub(r'<h([1-5])><a class="anchor" id="autotoc_md\d+"></a>(.*?)</h\1>', heading, text, flags=re.S)
    text = re.sub(r"<p ?>(Thread: [^<]*?)\s*Since: ([^<]*?)\s*</p>",
                  r'<p class="thread">\1 <span>Since \2.</span></p>', text)
    text = re.sub(r'<span class="permalink"><a href="(#[^"]*)">.*?</a></span>(.*?)(</h2>)',
                  r'\2<a class="here" href="\1" aria-label="Link to this">#</a>\3', text)
    # The first sentence stands above the list of members, and the whole text below it: once is enough.
    details = re.search(r'<a name="details" id="details"></a><h2 class="groupheader">.*?</h2>\n(.*?)(?=<h2|<hr/>|</div><!-- contents)',
                        text, re.S)
    if details and name.startswith(("group", "eventstream")):
        text = text.replace(details[0], "")
        text = re.sub(r'<p>[^\n]*\n<a href="#details">More\.\.\.</a></p>|<a href="#details">More\.\.\.</a>',
                      lambda _: details[1], text, count=1)
    text = re.sub(r'<h4 class="groupheader">.*?</h4>', "", text)
    text = re.sub(r'<div class="image">\s*<object type="image/svg\+xml" data="([^"]*)"[^>]*>(.*?)</object>',
                  picture, text, flags=re.S)
    text = text.replace("eventstream_rpc.h File Reference", "The header as a whole")
    text = re.sub(r"<p ?>([A-Z])([A-Z]+)\. (?=[A-Z])", lambda word: f"<p><strong>{word[1]}{word[2].lower()}.</strong> ", text)
    text = re.sub(r'href="((?:\.\./)?[\w./-]+\.(?:md|c|h|hpp|sh|cpp|yml|supp|svg)(?:#[\w-]*)?)"',
                  lambda link: f'href="{page_of(link[1], folder)}"', text)
    text = re.sub(r'<table class="(markdownTable|params|fieldtable)">.*?</table>',
                  labelled, text, flags=re.S)
    text = re.sub(r'<tr><td class="fieldname">(?:(?!</tr>).)*_NEGATIVE(?:(?!</tr>).)*</tr>', "", text, flags=re.S)
    text = re.sub(r'(<td class="fieldname">.*?</a>)(ESRPC_\w+)&#160;',
                  lambda field: f"{field[1]}{field[2]} = {numbers[field[2]]}", text)
    # An option is not broken behind its hyphens.
    text = re.sub(r"<code>(-[-\w]{1,24})</code>", r'<code class="option">\1</code>', text)
    text = with_links(text, places)
    here = navigation_of_all.replace(f'<a href="{name}">', f'<a href="{name}" aria-current="page">')
    return text.replace("<!-- navigation -->", here)


def check_links(output):
    anchors, texts = {}, {file.name: file.read_text() for file in output.glob("*.html")}
    for name, text in texts.items():
        anchors[name] = set(re.findall(r'\b(?:id|name)="([^"]*)"', text))
    for name, text in texts.items():
        for link in re.findall(r'\b(?:href|src|data)="([^"]*)"', text):
            place, _, anchor = html.unescape(link).partition("#")
            if "://" in place or place.startswith("mailto:"):
                continue
            place = place or name
            if not (output / place).is_file():
                problems.append(f"{name}: {link} leads nowhere")
            elif anchor and anchor not in anchors.get(place, {anchor}):
                problems.append(f"{name}: {link}: no such place on that page")


def main(output, tagfile):
    new_names = renamed(list(output.glob("md_*.html")))
    places = names_in(tagfile)
    for name, url in list(places.items()):
        if name.endswith("_NEGATIVE") or not (output / url.partition("#")[0]).exists():
            del places[name]
    links = navigation()
    header = (ROOT / "include/eventstream_rpc.h").read_text()
    numbers = dict(re.findall(r"^    (ESRPC_\w+) = (-?\d+),$", header, re.M))
    for file in list(output.glob("*.html")):
        text = file.read_text()
        for old, new in new_names.items():
            text = text.replace(old, new)
        name = new_names.get(file.name, file.name)
        file.unlink()
        if not name.startswith(("annotated", "classes", "files", "functions", "globals", "modules", "pages", "dir_")):
            (output / name).write_text(finished(text, name, places, numbers, links))
    for function in re.findall(r"ESRPC_CALL (esrpc_\w+)\(", header):
        if not places.get(function, "").startswith("group__"):
            problems.append(f"{function} is in no group of the reference")
    (output / "names.js").write_text("const names = " + json.dumps(sorted(places.items()), indent=0) + ";\n")
    kept = {"style.css", "search.js", "names.js"}
    for file in output.iterdir():
        if file.suffix in (".css", ".js", ".png") and file.name not in kept or file.name == "doxygen.svg":
            file.unlink()
    check_links(output)
    for problem in problems:
        print(f"finish.py: {problem}", file=sys.stderr)
    sys.exit(bool(problems))


OUTPUT = Path(sys.argv[1]).resolve()
main(OUTPUT, sys.argv[2])

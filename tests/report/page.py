"""A page as a browser's parser sees it; any fault in its structure is an error."""

from html.parser import HTMLParser

VOID = {"meta", "img", "link", "br"}


class Page(HTMLParser):
    """Tags, text and tables of an HTML page."""

    def __init__(self, path):
        super().__init__()
        self.open, self.tags, self.words, self.tables, self.cells = [], [], [], {}, None
        self.source = path.read_text(encoding="utf-8")
        assert self.source.startswith("<!DOCTYPE html>")
        self.feed(self.source)
        self.close()
        assert self.open == []
        self.text = " ".join(" ".join(self.words).split())

    def handle_starttag(self, tag, attributes):
        assert len(dict(attributes)) == len(attributes), f"attribute twice in {attributes}"
        self.tags.append((tag, dict(attributes)))
        if tag not in VOID:
            self.open.append(tag)
        if tag == "tr":
            self.cells = []
        elif tag in ("th", "td"):
            self.cells.append("")

    def handle_endtag(self, tag):
        assert self.open and self.open[-1] == tag, f"</{tag}> closes {self.open[-3:]}"
        self.open.pop()
        if tag == "caption":
            self.rows = self.tables[" ".join(self.caption.split())] = []
        elif tag == "tr":
            self.rows.append([" ".join(cell.split()) for cell in self.cells])
        self.caption = ""

    def handle_data(self, text):
        if not {"style", "title", "script"} & set(self.open):
            self.words.append(text)
        if "caption" in self.open:
            self.caption += text
        elif {"th", "td"} & set(self.open):
            self.cells[-1] += text

    def table(self, words):
        """Rows of the table whose caption has these words; the first row is its head."""
        (rows,) = (rows for caption, rows in self.tables.items() if words in caption)
        return rows

    def attributes(self, tag):
        """Attributes of all elements of this tag."""
        return [attributes for name, attributes in self.tags if name == tag]

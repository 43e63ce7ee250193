"""What a page of an AppTest says and shows."""


def texts(app) -> str:
    """All that the page says, without the marks that keep texts from being read as Markdown."""
    kinds = (app.title, app.subheader, app.markdown, app.caption, app.latex)
    kinds += (app.info, app.success, app.warning, app.error)
    said = "\n".join(str(element.value) for kind in kinds for element in kind)
    return said.replace("\\", "")


def commands(app) -> str:
    """All lines that are to be copied into a terminal."""
    return "\n".join(element.value for element in app.code)


def address(app, name):
    """A query parameter of the address."""
    value = app.query_params[name]
    return value[0] if isinstance(value, list) else value


def button(app, label):
    """The button with this label, or None."""
    return next((one for one in app.button if one.label == label), None)

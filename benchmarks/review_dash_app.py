"""The content of the review page in Dash, as its own guide would have it: tables, plots, a callback for the page.

Run by benchmarks.review in an environment of its own; imports nothing of chiploop.
"""

import json
import os
import sys
from pathlib import Path

import plotly.graph_objects as plots
from dash import Dash, Input, Output, dash_table, dcc, html
from flask import Response

content = json.loads(Path(os.environ["REVIEW_CONTENT"]).read_text(encoding="utf-8"))
app = Dash(__name__, serve_locally=True, suppress_callback_exceptions=True)
app.layout = html.Div([dcc.Location(id="where"), html.Div(id="page")])


@app.server.route("/figures/<int:number>")
def figure(number):
    """Return a figure that was drawn."""
    return Response(
        Path(content["figures"][number]).read_text(encoding="utf-8"), mimetype="image/svg+xml"
    )


def table(rows):
    """Return a table of rows."""
    plain = [
        {k: v if isinstance(v, str | int | float) else json.dumps(v) for k, v in row.items()}
        for row in rows
    ]
    names = [{"name": name, "id": name} for name in (plain[0] if plain else {})]
    return dash_table.DataTable(plain, names, page_size=300)


def timeline():
    """Return what flowed through each line."""
    kinds = dict.fromkeys(span["kind"] for span in content["spans"])
    bars = []
    for kind in kinds:
        own = [span for span in content["spans"] if span["kind"] == kind]
        bars.append(
            plots.Bar(
                name=kind,
                orientation="h",
                base=[span["begin_h"] for span in own],
                x=[span["end_h"] - span["begin_h"] for span in own],
                y=[span["line"] for span in own],
                text=[span["told"] for span in own],
            )
        )
    return dcc.Graph(figure=plots.Figure(bars, {"barmode": "overlay"}))


def residuals():
    """Return residuals against study time."""
    dots = [
        plots.Scatter(
            name=f"{title}, {donor}",
            mode="markers",
            x=[r["time_h"] for r in own],
            y=[r["residual"] for r in own],
            text=[r["chip"] for r in own],
        )
        for title in dict.fromkeys(r["title"] for r in content["residuals"])
        for donor in dict.fromkeys(r["donor"] for r in content["residuals"])
        if (own := [r for r in content["residuals"] if (r["title"], r["donor"]) == (title, donor)])
    ]
    return dcc.Graph(figure=plots.Figure(dots))


@app.callback(Output("page", "children"), Input("where", "pathname"))
def page(path):
    """Return a page."""
    head = [
        html.H1(content["title"]),
        html.P(f"{content['run']}, {content['state']}. {content['verdict']}"),
    ]
    if path == "/fit":
        body = [
            html.H2("Goals"),
            table(content["goals"]),
            html.H2("Parameters"),
            table(content["parameters"]),
            html.H2("Residuals"),
            residuals(),
            *(html.Img(src=f"/figures/{i}") for i in range(len(content["figures"]))),
            table(content["history"]),
        ]
    elif path == "/proposal":
        body = [html.H2("Doses"), table(content["doses"]), table(content["predicted"])]
    else:
        body = [html.H2("Rack"), table(content["rack"]), timeline(), table(content["happened"])]
    return [*head, *body, html.P("Research use only. Not for clinical decisions.")]


app.run(host="127.0.0.1", port=int(sys.argv[1]), debug=False)

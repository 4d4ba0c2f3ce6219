"""The content of the review page in Streamlit, as its own guide would have it: one script, ?page= chooses.

Run by benchmarks.review in an environment of its own; imports nothing of chiploop.
"""

import json
import os
from pathlib import Path

import altair
import pandas
import streamlit

content = json.loads(Path(os.environ["REVIEW_CONTENT"]).read_text(encoding="utf-8"))
page = streamlit.query_params.get("page", "overview")
streamlit.set_page_config(page_title=content["run"], layout="wide")
streamlit.title(content["title"])
streamlit.write(f"{content['run']}, {content['state']}. {content['verdict']}")
if page == "overview":
    streamlit.header("Rack")
    streamlit.dataframe(pandas.DataFrame(content["rack"]))
    streamlit.header("Timeline")
    streamlit.altair_chart(
        altair.Chart(pandas.DataFrame(content["spans"]))
        .mark_bar()
        .encode(
            x="begin_h", x2="end_h", y="line", color="kind", tooltip=["told", "begin_h", "end_h"]
        )
    )
    streamlit.dataframe(pandas.DataFrame(content["happened"]))
elif page == "fit":
    streamlit.header("Goals")
    streamlit.dataframe(pandas.DataFrame(content["goals"]))
    streamlit.header("Parameters")
    streamlit.dataframe(pandas.DataFrame(content["parameters"]))
    streamlit.header("Residuals")
    streamlit.altair_chart(
        altair.Chart(pandas.DataFrame(content["residuals"]))
        .mark_point()
        .encode(x="time_h", y="residual", shape="donor", row="title", tooltip=["chip", "residual"])
    )
    for figure in content["figures"]:
        streamlit.image(Path(figure).read_text(encoding="utf-8"))
    streamlit.dataframe(pandas.DataFrame(content["history"]))
else:
    streamlit.header("Doses")
    streamlit.dataframe(pandas.DataFrame(content["doses"]))
    streamlit.dataframe(pandas.DataFrame(content["predicted"]))
streamlit.markdown("Research use only. Not for clinical decisions.")

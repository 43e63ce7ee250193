"""The explorer: a Streamlit app over the runs of a store. It imports the engine, never torch."""

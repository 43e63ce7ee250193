"""What the pages say: computed sentences, names and tables. No Streamlit."""

"""How everything looks and is called: colours, numbers, the meaning of words. No Streamlit."""

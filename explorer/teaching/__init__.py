"""The idea of a gate in numbers, and the lesson's questions. No Streamlit."""

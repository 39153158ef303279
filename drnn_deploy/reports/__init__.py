"""Results as text, Markdown, JUnit and HTML, also against an earlier report."""

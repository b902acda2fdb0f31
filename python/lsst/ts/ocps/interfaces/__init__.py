"""The SAL interface of our component: XML in ts_xml's format, with our own texts, and pinned revCodes."""

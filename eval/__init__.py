"""How often which error happens, before and after; how to look at it."""

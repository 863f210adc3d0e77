# Passes a text of the site through the filter, so that it can be quoted. Nothing else is done with it.
# in: PHP SAID
put shown "$(cleaned "$SAID")"

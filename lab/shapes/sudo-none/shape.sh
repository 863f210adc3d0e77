# what: no sudo rule at all
# refused: plan first: sudo-rule-missing
# refused: preflight: several-problems
# finds: last-releases sudo-rules
rm /etc/sudoers.d/deploy

# what: no sudo rule at all
# refused: plan preflight first: sudo-rule-missing
rm /etc/sudoers.d/deploy

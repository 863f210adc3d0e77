# what: the deploy user's umask is 077
usermod --comment 'umask=077' deploy

# what: an app without a front end (front-end: none), whose only health path is the framework's /up
# removes: vite.config.js package.json package-lock.json public/build resources/js resources/css resources/images
true

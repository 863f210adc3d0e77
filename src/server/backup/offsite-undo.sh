# Removes an unfinished copy of a backup. A finished one was read back and stays.
# in: TO RELEASE
if [ -d "$TO/$RELEASE.part" ]; then
    rm -rf "${TO:?}/$RELEASE.part"
    put found part
elif [ -d "$TO/$RELEASE" ]; then
    put found whole
else
    put found none
fi

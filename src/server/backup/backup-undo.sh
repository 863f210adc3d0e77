# Removes an unfinished backup. A finished one was verified and stays.
# in: DIR
if [ -d "$DIR.part" ]; then
    rm -rf "$DIR.part"
    put found part
elif [ -d "$DIR" ]; then
    put found whole
else
    put found none
fi

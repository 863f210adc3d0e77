<?php

// The app has no commands of its own; the file exists because releases carry it.

<?php

// Stamped when a release is built. It is PHP code, so OPcache serves the old value for as long as it serves old code.
return ['commit' => '0000000000000000000000000000000000000000'];

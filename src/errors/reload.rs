//! The reload of PHP-FPM and nginx, and the restart of the queue workers.

use super::codes;

codes! {
    SERVICE_ENDED = "service-ended", Refused {
        meaning: "A service ended when it was reloaded. Every site of this server that uses it is down.",
        cause: "Its configuration is broken, maybe by a file of another site.",
        action: "Start the service with the command in the help. Its log says why it ended.",
        script: "{service} ended when it was reloaded{state}",
            "Start it: {start}. Its log says why it ended: sudo journalctl -u {service} -n 50",
    }
    RELOAD_OF_STOPPED_SERVICE = "reload-of-stopped-service", Refused {
        meaning: "A service was to be reloaded, and does not run.",
        cause: "It was stopped, or ended because of an error.",
        action: "Start it with the command in the help, then run again.",
        script: "{command} failed: {service} is not running{state}", "Start it: {start}. Then run again.",
    }
    RELOAD_FAILED = "reload-failed", Refused {
        meaning: "The command that reloads a service ended with an error.",
        cause: "A sudo rule is missing, or the configuration of the service is broken.",
        action: "Read its message in the lines of the step.",
        script: "{command} failed", "Read its message in the lines of this step. If the service is not running, run: {start}",
    }
    OLD_WORKERS_REMAIN = "old-workers-remain", Refused {
        meaning: "The command that reloads a service reported success, but old workers still run the old code, or no new worker started.",
        cause: "Long requests keep old workers busy, or the command reloads another service.",
        action: "Read the log of the service on the server, and check `php-fpm-service`.",
        script: "{command} reported success, but {seconds} s later {old} old workers are still running, and {new} new ones",
            "Read the service's log on the server, and check `php-fpm-service`.",
    }
    FPM_NOT_RELOADED = "fpm-not-reloaded", Refused {
        meaning: "PHP-FPM's configuration has an error. PHP-FPM would end, for every site, if it were reloaded; so it was not.",
        cause: "A file of its configuration was changed, maybe for another site, and PHP-FPM has not been reloaded since.",
        action: "Correct the file that the message names, test it with `php-fpm -t`, then run again.",
        script: "{service} was not reloaded, because it would end: {fault}",
            "Correct what the message names, then run again. This release did not change it.",
    }
    NGINX_NOT_RELOADED = "nginx-not-reloaded", Refused {
        meaning: "nginx's configuration has an error, so nginx was not reloaded.",
        cause: "A file of its configuration or a certificate was changed, maybe for another site.",
        action: "Correct the file that the message names, test it with `nginx -t`, then run again.",
        script: "{service} was not reloaded: {fault}", "Correct what the message names, then run again. This release did not change it.",
    }
    NGINX_RELOAD_FAILED = "nginx-reload-failed", Refused {
        meaning: "The command that reloads nginx ended with an error. nginx goes on with the configuration that it had.",
        cause: "A sudo rule is missing, or the configuration of nginx is broken.",
        action: "Read its message in the lines of the step.",
        script: "{command} failed", "Read its message in the lines of this step. If nginx is not running, run: {start}",
    }
    NGINX_NOT_RENEWED = "nginx-not-renewed", Refused {
        meaning: "The command that reloads nginx reported success, and no new worker started: nginx goes on with the configuration that it had.",
        cause: "Another program listens on a port that nginx's configuration names since its last reload. `nginx -t` does not see that.",
        action: "Read nginx's error log (`/var/log/nginx/error.log`), end the other program or correct the `listen` line, then run again.",
        script: "{command} reported success, but {seconds} s later nginx has started no new worker",
            "Read nginx's error log, which says why: sudo tail -n 20 /var/log/nginx/error.log. Mostly another program has one of nginx's ports. \
             Correct that, then run again.",
    }
    QUEUE_UNREADABLE = "queue-unreadable", Refused {
        meaning: "The app did not answer which command restarts its queue workers.",
        cause: "PHP ended while the app started.",
        action: "Read PHP's message in the lines of the step.",
        script: "the app did not answer which command restarts its queue workers: PHP ended with status {status}",
            "Read PHP's message in the lines of this step, and correct what ends PHP while the app starts.",
    }
    QUEUE_RESTART_FAILED = "queue-restart-failed", Refused {
        meaning: "The command that restarts the queue workers failed. They run the old code until they are restarted.",
        cause: "The cache store of the app, where the command leaves its signal, does not answer.",
        action: "Run the command by hand in the folder that the help names.",
        script: "php artisan {command} failed", "The workers run the old code until they restart. In {folder}, run: php artisan {command}",
    }
    QUEUE_SIGNAL_UNWRITABLE = "queue-signal-unwritable", Refused {
        meaning: "The signal by which queue workers restart cannot be written to the file cache of the app.",
        cause: "The folder of the cache belongs to the site's account, and the deploy user may not write to it.",
        action: "Run the command in the help as root.",
        script: "the signal for the queue workers cannot be written to {folder}", "As root, run: chgrp {group} {folder} && chmod g+rwxs {folder}",
    }
}

/// Whether a service ended, or did not run. A reload that failed otherwise leaves both as they were.
pub fn a_service_is_down(code: &str) -> bool {
    [SERVICE_ENDED, RELOAD_OF_STOPPED_SERVICE].iter().any(|known| known.name == code)
}

/// Whether a reload failed at nginx alone. PHP-FPM was reloaded before it, so no code of the failed release runs.
pub fn failed_at_nginx(code: &str) -> bool {
    [NGINX_NOT_RELOADED, NGINX_RELOAD_FAILED, NGINX_NOT_RENEWED].iter().any(|known| known.name == code)
}

//! The image, as the runner starts it.

use std::{process::Command, time::Duration};

use gated_deploy_lab::{
    Options,
    action::{self, Profile},
    app::Variant,
    gateway,
    registry::Registry,
    runner::{forms_of, image_of_action_yml},
    story::{Story, commit},
};

use crate::support::{BINARY, assert_ended, assert_says, output, root};

fn docker(args: &[&str]) -> String {
    let output = Command::new("docker").args(args).output().expect("docker");
    assert!(output.status.success(), "docker {args:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("UTF-8").trim().to_owned()
}

/// What `docker inspect` says beside the inputs, which the runner itself puts into the container's environment.
fn outside_of_inputs(inspected: &str) -> String {
    let mut containers: serde_json::Value = serde_json::from_str(inspected).expect("JSON");
    let variables = containers[0]["Config"]["Env"].as_array_mut().expect("the environment");
    let all = variables.len();
    variables.retain(|variable| !variable.as_str().is_some_and(|variable| variable.starts_with("INPUT_")));
    assert!(variables.len() < all && variables.len() > 10, "{variables:?}");
    containers.to_string()
}

#[test]
fn f40_a_release_goes_live_through_the_image_and_docker_shows_no_secret() {
    let built = action::ensure(root(), Profile::Ci).expect("the image; `cargo xtask image` builds it");
    // As a user has it: `action.yml` names an image in a registry by its digest.
    let registry = Registry::start().expect("a registry");
    let pushed = registry.push(&built, "acme/gated-deploy").expect("an image in the registry");
    let released = tempfile::tempdir().expect("a folder");
    let action_yml = std::fs::read_to_string(root().join("action.yml")).expect("action.yml");
    let action_yml = action_yml.replace("image: Dockerfile", &format!("image: docker://{pushed}"));
    std::fs::write(released.path().join("action.yml"), action_yml).expect("the released action.yml");
    let image = image_of_action_yml(released.path().join("action.yml")).expect("its image");
    docker(&["pull", "--quiet", &image.name]);

    let story = Story::begin_at(BINARY, root(), Options::default(), gateway().expect("the bridge")).expect("the lab");
    let commit = commit("through the image");
    story.ship(&commit, Variant::Healthy).expect("the build");
    let server = story.lab.container_ip().to_string();

    let step = story
        .staging(&commit)
        .input("ssh-host", &server)
        .input("ssh-port", "22")
        .input("ssh-known-hosts", &story.lab.known_hosts_for(&server, 22))
        .input("health-address", &format!("{server}:80"))
        .entrypoint(&image.entrypoint)
        .post_entrypoint(&image.post_entrypoint);
    let running = step.spawn_image(&image.name);
    running.wait_for_line("Survey the server", Duration::from_secs(60));
    let container = running.container().expect("a container").name();
    let inspected = docker(&["inspect", container]);
    let arguments = docker(&["top", container, "-eo", "pid,args"]);
    let finished = running.wait();

    assert_says(&arguments, &["gated-deploy"]);
    assert_says(&inspected, &["INPUT_SSH-PRIVATE-KEY="]);
    let (beside, health_token) = (outside_of_inputs(&inspected), story.staging_site().health_token);
    for form in [story.lab.private_key(), &health_token, story.github.token()].into_iter().flat_map(forms_of) {
        assert!(!arguments.contains(&form), "a secret is in the arguments of a process: {arguments}");
        assert!(!beside.contains(&form), "`docker inspect` shows a secret");
    }
    assert_ended(&finished, 0, "live");
    assert_eq!(story.served().expect("the site"), commit);
    assert_says(&finished.summary, &[output(&finished, "release"), "9/9"]);
    let post = step.run_image_post(&finished, &image.name);
    assert_eq!(post.exit_code, 0, "{}", post.raw_log);
    assert_says(&post.log, &["no recovery needed: the step completed"]);
    docker(&["rmi", &image.name]);
}

#[test]
fn the_image_holds_what_it_needs() {
    let image = action::ensure(root(), Profile::Ci).expect("the image; `cargo xtask image` builds it");
    assert_eq!(docker(&["image", "inspect", "--format", "{{len .RootFS.Layers}}", &image]), "1", "one layer");
    assert_eq!(
        docker(&["image", "inspect", "--format", "{{.Config.User}}{{.Config.WorkingDir}}", &image]),
        "",
        "root, and no WORKDIR"
    );
    let help = docker(&["run", "--rm", &image, "--help"]);
    assert_says(&help, &["deploy-staging", "--ssh-known-hosts"]);
    let container = docker(&["create", &image]);
    let files =
        Command::new("sh").args(["-c", &format!("docker export {container} | tar -t")]).output().expect("a listing");
    docker(&["rm", &container]);
    assert_says(
        &String::from_utf8_lossy(&files.stdout),
        &["etc/ssl/certs/ca-certificates.crt", "usr/local/bin/gated-deploy", "usr/local/bin/gated-deploy-post"],
    );
}

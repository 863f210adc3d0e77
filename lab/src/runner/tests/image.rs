use std::path::Path;
use std::process::Command;

use super::super::docker::{Container, DockerRun};
use super::super::paths::{PathMap, WorkDir};
use super::super::{Runner, Signal, StepResult, six_hex_digits};
use super::{PATIENCE, runner_of, step};

#[test]
fn the_command_line_is_that_of_the_runner() {
    let dirs = WorkDir::create().expect("a temporary directory");
    let env =
        [("INPUT_SSH-KEY".to_owned(), "hidden".to_owned()), ("HOME".to_owned(), "/github/home".to_owned())].into();
    let container = Container::named_after("1ghcr.io/acme/gated-deploy:v1");
    let run = DockerRun {
        image: "ghcr.io/acme/gated-deploy:v1",
        label: "0a1b2c",
        entrypoint: Some("/gated-deploy"),
        network: Some("github_network_1"),
        mounts: &dirs.mounts(),
        env: &env,
    };
    let work = dirs.temp.parent().expect("_work").display().to_string();
    let argv = run.argv(&container).join(" ").replace(&work, "W");
    let name = container.name();
    assert!(name.starts_with("ghcrioacmegateddeployv1_") && name.len() == 30, "{name}");
    assert_eq!(
        argv,
        format!(
            "run --name {name} --label 0a1b2c --workdir /github/workspace --rm -e HOME -e INPUT_SSH-KEY \
             -e GITHUB_ACTIONS=true -e CI=true --entrypoint /gated-deploy --network github_network_1 \
             -v /var/run/docker.sock:/var/run/docker.sock -v W/_temp:/github/runner_temp \
             -v W/_temp/_github_home:/github/home -v W/_temp/_github_workflow:/github/workflow \
             -v W/_temp/_runner_file_commands:/github/file_commands -v W/repo/repo:/github/workspace \
             ghcr.io/acme/gated-deploy:v1"
        )
    );
}

#[test]
fn paths_are_translated_as_whole_values_or_leading_directories_only() {
    let dirs = WorkDir::create().expect("a temporary directory");
    let map = PathMap::of_container(&dirs, &dirs.mounts());
    let workspace = dirs.workspace.display().to_string();
    assert_eq!(map.to_step(&workspace), "/github/workspace");
    assert_eq!(map.to_step(&format!("{workspace}/dist")), "/github/workspace/dist");
    assert_eq!(map.to_step(&format!("{workspace}-2")), format!("{workspace}-2"));
    assert_eq!(map.to_step(&format!("a:{workspace}")), format!("a:{workspace}"));
    assert_eq!(map.to_step(&dirs.home.display().to_string()), "/github/home", "not /github/runner_temp/_github_home");
    assert_eq!(map.relative_to_workspace("/github/workspace/app/a.php"), "app/a.php");
    assert_eq!(map.relative_to_workspace("/etc/passwd"), "/etc/passwd");
}

/// An image with a shell and the scripted step, made of this machine's own files: no registry is needed.
struct Image {
    tag: String,
}

impl Image {
    fn build() -> Image {
        let root = tempfile::tempdir().expect("a temporary directory");
        for program in ["/bin/sh", "/usr/bin/env", "/usr/bin/sleep"] {
            let libraries = output("ldd", &[program]);
            let libraries = libraries.split_whitespace().filter(|word| word.starts_with('/'));
            libraries.chain([program]).for_each(|file| copy_into(root.path(), Path::new(file), file));
        }
        copy_into(root.path(), &step(), "/step.sh");
        let tag = format!("gated-deploy-runner-test:{}", six_hex_digits());
        let archive = root.path().join("image.tar");
        let (archive, root) = (archive.display().to_string(), root.path().display().to_string());
        output("tar", &["-C", &root, "--exclude=image.tar", "-cf", &archive, "."]);
        output("docker", &["import", "--change", "ENV PATH=/usr/bin:/bin", &archive, &tag]);
        Image { tag }
    }
}

impl Drop for Image {
    fn drop(&mut self) {
        output("docker", &["rmi", "--force", &self.tag]);
    }
}

fn copy_into(root: &Path, file: &Path, inside: &str) {
    let target = root.join(inside.trim_start_matches('/'));
    std::fs::create_dir_all(target.parent().expect("a file has a parent")).expect("a temporary directory");
    std::fs::copy(file, target).unwrap_or_else(|error| panic!("copying {}: {error}", file.display()));
}

fn output(program: &str, args: &[&str]) -> String {
    let output =
        Command::new(program).args(args).output().unwrap_or_else(|error| panic!("{program} is needed: {error}"));
    assert!(output.status.success(), "{program} {args:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn runner_with_entrypoint(script: &str) -> Runner {
    runner_of(script).entrypoint("/step.sh").post_entrypoint("/usr/bin/env")
}

#[test]
fn an_image_runs_as_the_runner_runs_it() {
    let image = Image::build();
    let script = r#"echo "pid $$ in $PWD, home $HOME, temp $RUNNER_TEMP"
echo "::error file=$GITHUB_WORKSPACE/a.php::seen"
echo url=https://x >> "$GITHUB_OUTPUT"; echo phase=one >> "$GITHUB_STATE"
echo made > made.txt; exit 4"#;
    let runner =
        runner_with_entrypoint(script).secret("hidden-key").input("ssh-key", "hidden-key").input("with space", "a\nb");
    let main = runner.run_image(&image.tag);
    assert_eq!((main.exit_code, main.result), (4, StepResult::Failed), "{}", main.raw_log);
    assert!(
        main.log.starts_with("pid 1 in /github/workspace, home /github/home, temp /github/runner_temp\n"),
        "{}",
        main.log
    );
    assert_eq!(main.annotations[0].file.as_deref(), Some("a.php"));
    assert_eq!(main.outputs["url"], "https://x");
    assert!(runner.workspace().join("made.txt").exists());
    assert!(!main.container.as_ref().expect("an image runs in a container").is_running());
    main.assert_no_secret_leaks();

    let post = runner.run_image_post(&main, &image.tag);
    assert_eq!(post.exit_code, 0, "{}", post.raw_log);
    // Docker gives the variables in any order, and a log does not end in a line feed: any of them may be the last one.
    let lines = format!("\n{}\n", post.log);
    for line in ["STATE_phase=one", "INPUT_SSH-KEY=***", "INPUT_WITH_SPACE=a\nb", "CI=true"] {
        assert!(lines.contains(&format!("\n{line}\n")), "{line:?} is missing in{lines}");
    }

    let old = runner_with_entrypoint("test -e \"$RUNNER_TEMP\" || echo absent").without_runner_temp_mount();
    assert_eq!(old.run_image(&image.tag).log, "absent");
}

#[test]
fn a_container_outlives_its_client_until_the_stage_is_dropped() {
    let image = Image::build();
    let running = runner_with_entrypoint("echo ready; while :; do sleep 1; done").spawn_image(&image.tag);
    running.wait_for_line("ready", PATIENCE);
    running.signal(Signal::KILL);
    let mut finished = running.wait();
    let container = finished.container.take().expect("an image runs in a container");
    assert!(container.is_running(), "killing the client does not reach the container");
    let name = container.name().to_owned();
    drop(container);
    assert_eq!(output("docker", &["ps", "--all", "--quiet", "--filter", &format!("name={name}")]), "");
}
